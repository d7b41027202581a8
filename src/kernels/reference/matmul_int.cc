// SPDX-License-Identifier: Apache-2.0
#include "format/float16.h"
#include "kernels/matrix.h"
#include "kernels/table.h"

namespace codecllm::reference {

namespace {

int64_t tile_rows(int64_t) { return 1; }

int32_t activation_at(const uint8_t* codes, int64_t halves, int64_t k) {
  return halves == 2 ? reinterpret_cast<const int16_t*>(codes)[k] : reinterpret_cast<const int8_t*>(codes)[k];
}

int32_t code_at(const MatrixView& w, int64_t row, int64_t column) {
  const int columns = traits(w.element).line_columns;
  const uint8_t* line = w.data + row / kPanelRows * w.panel_bytes() + column / columns * kLineBytes;
  const int64_t lane = row % kPanelRows, within = column % columns;
  if (w.element == Element::u8) return line[lane * 4 + within];
  const uint8_t byte = line[lane * 4 + within % 4];
  return within < 4 ? byte & 15 : byte >> 4;
}

int32_t zero_at(const MatrixView& w, int64_t row, int64_t group) {
  if (w.zeros == nullptr) return traits(w.element).offset;
  return w.zeros[(row / kPanelRows * w.groups() + group) * kPanelRows + row % kPanelRows];
}

// The float arithmetic after the exact integer sum is the same, operation by operation, on every tier: a sum of INT8
// activations is converted, one of 16-bit activations as 256 * high + low with 0 <= low < 256; the groups are added in
// order.
float dot(const MatrixView& w, int64_t row, const uint8_t* x, int64_t halves, int32_t x_zero) {
  float sum = 0;
  for (int64_t begin = 0, g = 0; begin < w.columns; begin += w.group, ++g) {
    const int32_t zero = zero_at(w, row, g);
    int64_t total = 0;
    for (int64_t k = begin; k < w.columns && k < begin + w.group; ++k)
      total += static_cast<int64_t>(code_at(w, row, k) - zero) * (activation_at(x, halves, k) - x_zero);
    const auto high = static_cast<float>(total >> 8), low = static_cast<float>(total & 255);
    const float exact = halves == 2 ? high * 256.0f + low : static_cast<float>(total);
    sum += exact * scale_of(w, row, g);
  }
  return sum;
}

void matmul_int(const MatrixView& w, const IntActivations& x, float* y, int64_t y_stride, int64_t panel_begin,
                int64_t panel_end) {
  const int64_t row_end = panel_end * kPanelRows < w.rows ? panel_end * kPanelRows : w.rows;
  for (int64_t m = 0; m < x.rows; ++m)
    for (int64_t n = panel_begin * kPanelRows; n < row_end; ++n)
      y[m * y_stride + n] = dot(w, n, x.codes + m * x.row_bytes, x.halves, x.zeros == nullptr ? 0 : x.zeros[m]) * x.scale[m];
}

}  // namespace

void fill_matmul_int(KernelTable& table) {
  table.tile_rows = tile_rows;
  table.matmul_int = matmul_int;
}

}  // namespace codecllm::reference
