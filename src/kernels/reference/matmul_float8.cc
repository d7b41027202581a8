// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "format/float16.h"
#include "format/float8.h"
#include "kernels/matrix.h"
#include "kernels/table.h"

namespace codecllm::reference {

namespace {

const Float8& float8_type(Element element) { return element == Element::e4m3 ? kE4m3 : kE5m2; }

float float8_at(const MatrixView& w, int64_t row, int64_t column) {
  const uint8_t* line = w.data + row / kPanelRows * w.panel_bytes() + column / 4 * kLineBytes;
  return float8_to_f32(line[column % 4 / 2 * 32 + row % kPanelRows * 2 + column % 2], float8_type(w.element));
}

double scaled_dot(const MatrixView& w, int64_t row, const float* x, const float* scales, int64_t scale_groups) {
  double total = 0;
  for (int64_t begin = 0, g = 0; begin < w.columns; begin += w.group, ++g) {
    double sum = 0;
    for (int64_t k = begin; k < w.columns && k < begin + w.group; ++k) sum += static_cast<double>(float8_at(w, row, k)) * x[k];
    const double scale = scales == nullptr ? 1.0 : scales[scale_groups == 1 ? 0 : g];
    total += sum * scale * scale_of(w, row, g);
  }
  return total;
}

void matmul_float8(const MatrixView& w, const ScaledActivations& x, float* y, int64_t y_stride, int64_t panel_begin,
                   int64_t panel_end) {
  const int64_t row_end = panel_end * kPanelRows < w.rows ? panel_end * kPanelRows : w.rows;
  for (int64_t m = 0; m < x.rows; ++m)
    for (int64_t n = panel_begin * kPanelRows; n < row_end; ++n)
      y[m * y_stride + n] = static_cast<float>(
          scaled_dot(w, n, x.x + m * x.stride, x.scales == nullptr ? nullptr : x.scales + m * x.groups, x.groups));
}

void round_row_float8(const float* x, int64_t columns, int64_t group, Element type, float given, float* out, float* scales) {
  const Float8& format = float8_type(type);
  for (int64_t begin = 0, g = 0; begin < columns; begin += group, ++g) {
    const int64_t end = begin + group < columns ? begin + group : columns;
    float amax = 0;
    bool finite = true;
    for (int64_t k = begin; k < end; ++k) {
      finite = finite && std::isfinite(x[k]);
      amax = std::fmax(amax, std::fabs(x[k]));
    }
    const bool zeros = amax < kSmallestActivation;
    const float scale = !finite ? std::numeric_limits<float>::quiet_NaN() : given > 0 ? given : zeros ? 0.0f : amax / format.largest;
    for (int64_t k = begin; k < end; ++k)
      out[k] = finite && !zeros ? float8_to_f32(f32_to_float8(x[k] / scale, format), format) : 0.0f;
    scales[g] = scale;
  }
  for (int64_t k = columns; k < round_up(columns, kColumnPadding); ++k) out[k] = 0;
}

}  // namespace

void fill_matmul_float8(KernelTable& table) {
  table.matmul_float8 = matmul_float8;
  table.round_row_float8 = round_row_float8;
}

}  // namespace codecllm::reference
