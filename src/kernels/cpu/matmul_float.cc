// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/vec.h"

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
// for every tile shape, so that a row's result does not depend on what else is in the batch.
template <Element E, int M, int P>
void tile(const MatrixView& w, const float* x, int64_t x_stride, float* y, int64_t y_stride, int64_t p0) {
  constexpr int64_t kPairBytes = E == Element::f32 ? 128 : 64;
  const uint8_t* weights[P];
  for (int p = 0; p < P; ++p) weights[p] = w.data + (p0 + p) * w.panel_bytes();
  vf even[P][M], odd[P][M];
  for (int p = 0; p < P; ++p)
    for (int m = 0; m < M; ++m) even[p][m] = odd[p][m] = zero();
  const int64_t pairs = w.columns / 2;
  for (int64_t pair = 0; pair < pairs; ++pair) {
    vf w0[P], w1[P];
    for (int p = 0; p < P; ++p) load_columns<E>(weights[p] + pair * kPairBytes, w0[p], w1[p]);
    for (int m = 0; m < M; ++m) {
      const vf x0 = set1(x[m * x_stride + 2 * pair]), x1 = set1(x[m * x_stride + 2 * pair + 1]);
      for (int p = 0; p < P; ++p) {
        even[p][m] = fma(w0[p], x0, even[p][m]);
        odd[p][m] = fma(w1[p], x1, odd[p][m]);
      }
    }
  }
  for (int p = 0; p < P; ++p) {
    if (w.columns % 2 != 0) {  // for f32 the panel ends with this column, so the second is not read
      vf last = zero(), none = zero();
      if constexpr (E == Element::f32) {
        last = load(reinterpret_cast<const float*>(weights[p] + pairs * kPairBytes));
      } else {
        load_columns<E>(weights[p] + pairs * kPairBytes, last, none);
      }
      for (int m = 0; m < M; ++m) even[p][m] = fma(last, set1(x[m * x_stride + 2 * pairs]), even[p][m]);
    }
    const int64_t n = (p0 + p) * kPanelRows, left = w.rows - n;
    for (int m = 0; m < M; ++m) {
      const vf total = add(even[p][m], odd[p][m]);
      if (left >= kPanelRows) {
        store(y + m * y_stride + n, total);
      } else {
        store_n(y + m * y_stride + n, total, left);
      }
    }
  }
}

constexpr int kTileRows = kManyRegisters ? 6 : 3, kTilePanels = kManyRegisters ? 2 : 1;

template <Element E, int P>
void panels(const MatrixView& w, const float* x, int64_t x_stride, int64_t rows, float* y, int64_t y_stride,
            int64_t p0) {
  int64_t m = 0;
  for (; m + kTileRows <= rows; m += kTileRows)
    tile<E, kTileRows, P>(w, x + m * x_stride, x_stride, y + m * y_stride, y_stride, p0);
  for (; m + 2 <= rows; m += 2) tile<E, 2, P>(w, x + m * x_stride, x_stride, y + m * y_stride, y_stride, p0);
  // A single row reads one panel after the other: one linear stream is the fastest way through memory.
  for (; m < rows; ++m)
    for (int p = 0; p < P; ++p) tile<E, 1, 1>(w, x + m * x_stride, x_stride, y + m * y_stride, y_stride, p0 + p);
}

template <Element E>
void range(const MatrixView& w, const float* x, int64_t x_stride, int64_t rows, float* y, int64_t y_stride,
           int64_t begin, int64_t end) {
  for (; begin + kTilePanels <= end; begin += kTilePanels)
    panels<E, kTilePanels>(w, x, x_stride, rows, y, y_stride, begin);
  for (; begin < end; ++begin) panels<E, 1>(w, x, x_stride, rows, y, y_stride, begin);
}

void matmul_float(const MatrixView& w, const float* x, int64_t x_stride, int64_t rows, float* y, int64_t y_stride,
                  int64_t panel_begin, int64_t panel_end) {
  const auto run = w.element == Element::bf16  ? range<Element::bf16>
                   : w.element == Element::f16 ? range<Element::f16>
                                               : range<Element::f32>;
  run(w, x, x_stride, rows, y, y_stride, panel_begin, panel_end);
}

}  // namespace

void fill_matmul_float(KernelTable& table) { table.matmul_float = matmul_float; }

}  // namespace codecllm::CODECLLM_TIER
