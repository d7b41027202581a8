// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/float_dot.h"
#include "kernels/cpu/tiles.h"

namespace codecllm::CODECLLM_TIER {

namespace {

// Every output is one sum over the even units and one over the odd units, each in order, then their sum: the same
// for every tile shape, so that a row's result does not depend on what else is in the batch. x [units][M].
template <Element E, int M, int P>
void tile(const MatrixView& w, const float* x, float* y, int64_t y_stride, int64_t p0) {
  using Dot = FloatDot<E>;
  // As in matmul_int.cc: few rows wait for memory, many for the second-level cache.
  constexpr bool kFewRows = M <= (Dot::kPairs ? 6 : 2);
  constexpr int64_t kAheadFloats = 192;
  const int64_t panel_bytes = w.panel_bytes();
  const int64_t units = (w.columns + Dot::kUnitColumns - 1) / Dot::kUnitColumns, pairs = units / 2;
  const uint8_t* weights = w.data + p0 * panel_bytes;
  Pack<vf, P * M> even, odd;
  each<P * M>(EACH(i) { even.at(i) = odd.at(i) = zero(); });
  for (int64_t pair = 0; pair < pairs; ++pair) {
    Pack<vf, P> w0, w1;
    each<P>(EACH(p) {
      const uint8_t* at = weights + p * panel_bytes + pair * Dot::kTwoUnits;
      ask<Dot::kPairs && kFewRows>(at + (kFewRows ? kAheadBytes : 512));
      Dot::load(at, w0.at(p), w1.at(p));
    });
    if constexpr (!kFewRows)
      for (int line = 0; line < 2 * M; line += 16) prefetch(x + 2 * pair * M + kAheadFloats + line);
    each<M>(EACH(m) {
      const vf x0 = set1(x[2 * pair * M + m]), x1 = set1(x[(2 * pair + 1) * M + m]);
      each<P>(EACH(p) {
        cell<M>(even, p, m) = Dot::multiply_add(cell<M>(even, p, m), w0.at(p), x0);
        cell<M>(odd, p, m) = Dot::multiply_add(cell<M>(odd, p, m), w1.at(p), x1);
      });
    });
  }
  each<P>(EACH(p) {
    if (units % 2 != 0) {
      const vf last = Dot::load_one(weights + p * panel_bytes + pairs * Dot::kTwoUnits);
      each<M>(EACH(m) { cell<M>(even, p, m) = Dot::multiply_add(cell<M>(even, p, m), last, set1(x[2 * pairs * M + m])); });
    }
    each<M>(EACH(m) { store_rows(w, p0 + p, y + m * y_stride, add(cell<M>(even, p, m), cell<M>(odd, p, m))); });
  });
}

int64_t float_tile_rows(Element weight) {
  return fits_bf16(weight) ? FloatDot<Element::bf16>::kTileRows : FloatDot<Element::f32>::kTileRows;
}

template <Element E>
void range(const MatrixView& w, const float* x, int64_t x_stride, int64_t rows, float* y, int64_t y_stride,
           int64_t begin, int64_t end) {
  constexpr int kTileRows = FloatDot<E>::kTileRows;
  each_block<kTileRows, 2>(w, rows, begin, end, [&](RowTile at, int64_t p, int64_t stop) {
    const float* from = x + at.first * x_stride;
    float* to = y + at.first * y_stride;
    at_rows<kTileRows>(at.rows, [&](auto m) {
      // A single row reads one panel after the other: one linear stream is the fastest way through memory.
      if constexpr (kManyRegisters && m > 1 && m <= 6)
        for (; p + 2 <= stop; p += 2) tile<E, m, 2>(w, from, to, y_stride, p);
      for (; p < stop; ++p) tile<E, m, 1>(w, from, to, y_stride, p);
    });
  });
}

void matmul_float(const MatrixView& w, const float* x, int64_t x_stride, int64_t rows, float* y, int64_t y_stride,
                  int64_t panel_begin, int64_t panel_end) {
  const auto run = w.element == Element::bf16  ? range<Element::bf16>
                   : w.element == Element::f16 ? range<Element::f16>
                                               : range<Element::f32>;
  run(w, x, x_stride, rows, y, y_stride, panel_begin, panel_end);
}

void put_pairs(const float* x, int64_t x_stride, int64_t rows, int64_t columns, float* tile) {
  const auto first_n = [](const float* p, int64_t n) { return n >= 16 ? load(p) : n > 0 ? load_n(p, n) : zero(); };
  const int64_t words = (columns + 1) / 2;
  for (int64_t i = 0; i < rows; ++i) {
    const float* row = x + i * x_stride;
    for (int64_t word = 0; word < words; word += 16) {
      const int64_t left = columns - 2 * word, n = words - word < 16 ? words - word : 16;
      alignas(64) float pairs[16];
      store(pairs, to_pairs(first_n(row + 2 * word, left), first_n(row + 2 * word + 16, left - 16)));
      for (int64_t j = 0; j < n; ++j) tile[(word + j) * rows + i] = pairs[j];
    }
  }
}

}  // namespace

void fill_matmul_float(KernelTable& table) {
  table.float_tile_rows = float_tile_rows;
  table.matmul_float = matmul_float;
  table.put_pairs = kHasPairs ? put_pairs : nullptr;
}

}  // namespace codecllm::CODECLLM_TIER
