// SPDX-License-Identifier: Apache-2.0
#include "format/float16.h"
#include "kernels/table.h"

namespace codecllm::reference {

namespace {

float value_at(const MatrixView& w, int64_t row, int64_t column) {
  const int columns = traits(w.element).line_columns;
  const uint8_t* line = w.data + row / kPanelRows * w.panel_bytes() + column / columns * kLineBytes;
  const int64_t lane = row % kPanelRows, within = column % columns;
  const auto* halves = reinterpret_cast<const uint16_t*>(line);
  switch (w.element) {
    case Element::bf16: return bf16_to_f32(halves[lane * 2 + within]);
    case Element::f16: return f16_to_f32(halves[within * kPanelRows + lane]);
    default: return reinterpret_cast<const float*>(line)[lane];
  }
}

int64_t float_tile_rows(Element) { return 1; }

void matmul_float(const MatrixView& w, const float* x, int64_t x_stride, int64_t rows, float* y, int64_t y_stride,
                  int64_t panel_begin, int64_t panel_end) {
  const int64_t row_end = panel_end * kPanelRows < w.rows ? panel_end * kPanelRows : w.rows;
  for (int64_t m = 0; m < rows; ++m) {
    for (int64_t n = panel_begin * kPanelRows; n < row_end; ++n) {
      double sum = 0;
      for (int64_t k = 0; k < w.columns; ++k) sum += static_cast<double>(value_at(w, n, k)) * x[m * x_stride + k];
      y[m * y_stride + n] = static_cast<float>(sum);
    }
  }
}

}  // namespace

void fill_matmul_float(KernelTable& table) {
  table.float_tile_rows = float_tile_rows;
  table.matmul_float = matmul_float;
}

}  // namespace codecllm::reference
