// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "format/float16.h"
#include "kernels/table.h"

namespace codecllm::reference {

namespace {

// codes: int16, in column order.
float quantize_row(const float* x, int64_t columns, int64_t group, uint8_t* codes, int32_t* sums) {
  float largest = 0;
  bool finite = true;
  for (int64_t k = 0; k < columns; ++k) {
    finite = finite && std::isfinite(x[k]);
    largest = std::fmax(largest, std::fabs(x[k]));
  }
  const float inverse = finite && largest >= kSmallestActivation ? kActivationLimit / largest : 0.0f;
  auto* out = reinterpret_cast<int16_t*>(codes);
  for (int64_t k = 0; k < columns; ++k) {
    out[k] = finite ? static_cast<int16_t>(std::nearbyint(x[k] * inverse)) : int16_t{0};
  }
  for (int64_t k = columns; k < round_up(columns, kColumnPadding); ++k) out[k] = 0;
  for (int64_t begin = 0, g = 0; begin < columns; begin += group, ++g) {
    int32_t high = 0, low = 0;
    for (int64_t k = begin; k < columns && k < begin + group; ++k) {
      const int32_t l = static_cast<int8_t>(out[k] & 255);
      low += l;
      high += (out[k] - l) / 256;
    }
    sums[2 * g] = high;
    sums[2 * g + 1] = low;
  }
  if (!finite) return std::numeric_limits<float>::quiet_NaN();
  return largest >= kSmallestActivation ? largest / kActivationLimit : 0.0f;
}

int32_t code_at(const MatrixView& w, int64_t row, int64_t column) {
  const int columns = traits(w.element).line_columns;
  const uint8_t* line = w.data + row / kPanelRows * w.panel_bytes() + column / columns * kLineBytes;
  const int64_t lane = row % kPanelRows, within = column % columns;
  if (w.element == Element::u8) return line[lane * 4 + within];
  const uint8_t byte = line[lane * 4 + within % 4];
  return within < 4 ? byte & 15 : byte >> 4;
}

float scale_at(const MatrixView& w, int64_t row, int64_t group) {
  const int64_t i = (row / kPanelRows * w.groups() + group) * kPanelRows + row % kPanelRows;
  if (w.scale_type == ScaleType::f32) return static_cast<const float*>(w.scales)[i];
  const uint16_t bits = static_cast<const uint16_t*>(w.scales)[i];
  return w.scale_type == ScaleType::bf16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

int32_t zero_at(const MatrixView& w, int64_t row, int64_t group) {
  if (w.zeros == nullptr) return traits(w.element).offset;
  return w.zeros[(row / kPanelRows * w.groups() + group) * kPanelRows + row % kPanelRows];
}

// The float arithmetic after the exact integer sum is the same, operation by operation, on every tier: the sum as
// 256 * high + low with 0 <= low < 256, each half converted, and the groups added in order.
float dot(const MatrixView& w, int64_t row, const int16_t* x) {
  float sum = 0;
  for (int64_t begin = 0, g = 0; begin < w.columns; begin += w.group, ++g) {
    const int32_t zero = zero_at(w, row, g);
    int64_t total = 0;
    for (int64_t k = begin; k < w.columns && k < begin + w.group; ++k)
      total += static_cast<int64_t>(code_at(w, row, k) - zero) * x[k];
    const auto high = static_cast<float>(total >> 8), low = static_cast<float>(total & 255);
    sum += (high * 256.0f + low) * scale_at(w, row, g);
  }
  return sum;
}

void matmul_int(const MatrixView& w, const IntActivations& x, float* y, int64_t y_stride, int64_t panel_begin,
                int64_t panel_end) {
  const int64_t row_end = panel_end * kPanelRows < w.rows ? panel_end * kPanelRows : w.rows;
  for (int64_t m = 0; m < x.rows; ++m)
    for (int64_t n = panel_begin * kPanelRows; n < row_end; ++n)
      y[m * y_stride + n] = dot(w, n, reinterpret_cast<const int16_t*>(x.codes + m * x.stride)) * x.scale[m];
}

}  // namespace

void fill_matmul_int(KernelTable& table) {
  table.quantize_row = quantize_row;
  table.matmul_int = matmul_int;
}

}  // namespace codecllm::reference
