// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "kernels/table.h"

namespace codecllm::reference {

namespace {

float largest_of(const float* x, int64_t n) {
  float largest = 0;
  for (int64_t k = 0; k < n; ++k) {
    if (!std::isfinite(x[k])) return std::numeric_limits<float>::quiet_NaN();
    largest = std::fmax(largest, std::fabs(x[k]));
  }
  return largest;
}

// codes: int16 or int8, in column order.
float quantize_row(const float* x, int64_t columns, int64_t group, int64_t halves, float scale, uint8_t* codes, int32_t* sums) {
  const float limit = code_limit(halves), largest = largest_of(x, columns);
  const bool usable = largest >= kSmallestActivation;
  const float inverse = !usable ? 0.0f : scale > 0 ? 1.0f / scale : limit / largest;
  const auto code = [&](int64_t k) {
    if (!usable || k >= columns) return 0;
    return static_cast<int32_t>(std::nearbyint(std::fmax(-limit, std::fmin(limit, x[k] * inverse))));
  };
  for (int64_t k = 0; k < round_up(columns, kColumnPadding); ++k) {
    if (halves == 2) {
      reinterpret_cast<int16_t*>(codes)[k] = static_cast<int16_t>(code(k));
    } else {
      reinterpret_cast<int8_t*>(codes)[k] = static_cast<int8_t>(code(k));
    }
  }
  for (int64_t begin = 0; begin < columns; begin += group, sums += halves) {
    int32_t high = 0, low = 0;
    for (int64_t k = begin; k < columns && k < begin + group; ++k) {
      const int32_t l = static_cast<int8_t>(code(k) & 255);
      low += l;
      high += (code(k) - l) / 256;
    }
    sums[0] = halves == 2 ? high : low;
    if (halves == 2) sums[1] = low;
  }
  if (std::isnan(largest)) return largest;
  return scale > 0 ? scale : usable ? largest / limit : 0.0f;
}

float quantize_row_asymmetric(const float* x, int64_t columns, int64_t group, float scale, int32_t* zero, uint8_t* codes, int32_t* sums) {
  const float largest = largest_of(x, columns);
  const bool usable = largest >= kSmallestActivation;
  if (usable && scale == 0) {
    float low = 0, high = 0;
    for (int64_t k = 0; k < columns; ++k) {
      low = std::fmin(low, x[k]);
      high = std::fmax(high, x[k]);
    }
    scale = high / kByteSteps - low / kByteSteps;
    *zero = static_cast<int32_t>(std::nearbyint(std::fmax(-kByteLimit, std::fmin(kByteLimit, -kByteLimit - low / scale))));
  }
  if (!usable) *zero = 0;
  const float inverse = usable ? 1.0f / scale : 0.0f, shift = static_cast<float>(*zero);
  for (int64_t k = 0; k < round_up(columns, kColumnPadding); ++k) {
    const float bounded = k < columns && usable ? std::fmax(-kByteLimit - shift, std::fmin(kByteLimit - shift, x[k] * inverse)) : 0.0f;
    reinterpret_cast<int8_t*>(codes)[k] = static_cast<int8_t>(k < columns ? static_cast<int32_t>(std::nearbyint(bounded)) + *zero : 0);
  }
  for (int64_t begin = 0; begin < columns; begin += group) {
    int32_t sum = 0;
    for (int64_t k = begin; k < columns && k < begin + group; ++k) sum += reinterpret_cast<const int8_t*>(codes)[k];
    *sums++ = sum;
  }
  if (std::isnan(largest)) return largest;
  return usable ? scale : 0.0f;
}

// Tiles of this tier are single rows.
void quantize_rows(const ActivationRows& rows, const IntegerRows& out) {
  *out.scales = out.zeros != nullptr
                    ? quantize_row_asymmetric(rows.x, rows.columns, rows.group, rows.scale, out.zeros, out.codes, out.sums)
                    : quantize_row(rows.x, rows.columns, rows.group, rows.halves, rows.scale, out.codes, out.sums);
}

}  // namespace

void fill_quantize_row(KernelTable& table) {
  table.largest_of = largest_of;
  table.quantize_rows = quantize_rows;
}

}  // namespace codecllm::reference
