// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/tiles.h"

namespace codecllm::CODECLLM_TIER {

namespace {

// Weights of two columns, sixteen rows each, and where the next two are.
template <Element E>
VEC void load_columns(const uint8_t* at, vf& even, vf& odd) {
  if constexpr (E == Element::bf16) {
    load_bf16_pairs(reinterpret_cast<const uint16_t*>(at), even, odd);
  } else if constexpr (E == Element::f16) {
    even = load_f16(reinterpret_cast<const uint16_t*>(at));
    odd = load_f16(reinterpret_cast<const uint16_t*>(at) + 16);
  } else {
    even = load(reinterpret_cast<const float*>(at));
    odd = load(reinterpret_cast<const float*>(at) + 16);
  }
}

// Every output is one sum over the even columns and one over the odd columns, each in order, then their sum: the same
// for every tile shape, so that a row's result does not depend on what else is in the batch. x [columns][M].
template <Element E, int M, int P>
void tile(const MatrixView& w, const float* x, float* y, int64_t y_stride, int64_t p0) {
  constexpr int64_t kPairBytes = E == Element::f32 ? 128 : 64;
  // As in matmul_int.cc: few rows wait for memory, many for the second-level cache.
  constexpr bool kFewRows = M <= 2;
  constexpr int64_t kAhead = kFewRows ? kAheadBytes : 512, kAheadFloats = 192;
  const int64_t panel_bytes = w.panel_bytes(), pairs = w.columns / 2;
  const uint8_t* weights = w.data + p0 * panel_bytes;
  Pack<vf, P * M> even, odd;
  each<P * M>(EACH(i) { even.at(i) = odd.at(i) = zero(); });
  for (int64_t pair = 0; pair < pairs; ++pair) {
    Pack<vf, P> w0, w1;
    each<P>(EACH(p) {
      const uint8_t* at = weights + p * panel_bytes + pair * kPairBytes;
      prefetch(at + kAhead);
      load_columns<E>(at, w0.at(p), w1.at(p));
    });
    if constexpr (!kFewRows)
      for (int line = 0; line < 2 * M; line += 16) prefetch(x + 2 * pair * M + kAheadFloats + line);
    each<M>(EACH(m) {
      const vf x0 = set1(x[2 * pair * M + m]), x1 = set1(x[(2 * pair + 1) * M + m]);
      each<P>(EACH(p) {
        cell<M>(even, p, m) = fma(w0.at(p), x0, cell<M>(even, p, m));
        cell<M>(odd, p, m) = fma(w1.at(p), x1, cell<M>(odd, p, m));
      });
    });
  }
  each<P>(EACH(p) {
    if (w.columns % 2 != 0) {  // for f32 the panel ends with this column, so the second is not read
      const uint8_t* at = weights + p * panel_bytes + pairs * kPairBytes;
      vf last = zero(), none = zero();
      if constexpr (E == Element::f32) {
        last = load(reinterpret_cast<const float*>(at));
      } else {
        load_columns<E>(at, last, none);
      }
      each<M>(EACH(m) { cell<M>(even, p, m) = fma(last, set1(x[2 * pairs * M + m]), cell<M>(even, p, m)); });
    }
    const int64_t n = (p0 + p) * kPanelRows, left = w.rows - n;
    each<M>(EACH(m) {
      const vf total = add(cell<M>(even, p, m), cell<M>(odd, p, m));
      if (left >= kPanelRows) {
        store(y + m * y_stride + n, total);
      } else {
        store_n(y + m * y_stride + n, total, left);
      }
    });
  });
}

int64_t float_tile_rows() { return kFloatTileRows; }

template <Element E>
void range(const MatrixView& w, const float* x, int64_t x_stride, int64_t rows, float* y, int64_t y_stride,
           int64_t begin, int64_t end) {
  each_block<kFloatTileRows, 2>(w, rows, begin, end, [&](RowTile at, int64_t p, int64_t stop) {
    const float* from = x + at.first * x_stride;
    float* to = y + at.first * y_stride;
    at_rows<kFloatTileRows>(at.rows, [&](auto m) {
      // A single row reads one panel after the other: one linear stream is the fastest way through memory.
      if constexpr (kManyRegisters && m > 1 && m <= kFloatTileRows / 2)
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

}  // namespace

void fill_matmul_float(KernelTable& table) {
  table.float_tile_rows = float_tile_rows;
  table.matmul_float = matmul_float;
}

}  // namespace codecllm::CODECLLM_TIER
