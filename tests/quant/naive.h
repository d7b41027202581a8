// SPDX-License-Identifier: Apache-2.0
// Round to nearest as the formula says it, one value at a time.
#pragma once

#include <cmath>
#include <limits>

#include "format/affine.h"
#include "quant/support.h"

namespace codecllm::test {

struct NaiveWeights {
  std::vector<int> codes;     // [rows, columns]
  std::vector<float> scales;  // [rows, groups], [rows] or [1]
  std::vector<float> values;  // [rows, columns]: code * scale
};

inline float rounded(float value, DType type) {
  return type == DType::bf16  ? bf16_to_f32(f32_to_bf16(value))
         : type == DType::f16 ? f16_to_f32(f32_to_f16(value))
                              : value;
}

// How many columns share a scale: what the preset asks for, else the largest power of two from 32 that
// divides the row, else the whole row. 0: the whole tensor.
inline int64_t naive_group(const QuantArgs& args, int64_t columns) {
  if (args.strategy == Strategy::tensor) return 0;
  if (args.strategy != Strategy::group) return columns;
  for (int64_t group = args.group_size; group >= 32; group /= 2)
    if (columns % group == 0) return group;
  return columns;
}

inline NaiveWeights naive_quantize(const Tensor& source, int bits, int64_t group, ScaleRule rule) {
  const int64_t rows = source.decl.shape[0], columns = source.decl.shape[1];
  const int64_t together = group == 0 ? rows * columns : group;
  const std::vector<float> x = values_of(source);
  const float high = static_cast<float>((1 << (bits - 1)) - 1),
              low = rule == ScaleRule::full ? -high - 1 : -high;
  NaiveWeights out;
  for (int64_t begin = 0; begin < rows * columns; begin += together) {
    float amax = 0;
    for (int64_t i = begin; i < begin + together; ++i) amax = std::fmax(amax, std::fabs(x[i]));
    float scale = rounded(amax / (rule == ScaleRule::full ? high + 0.5f : high), source.decl.dtype);
    if (scale == 0)
      scale = symmetric_scale(amax, bits, rule, source.decl.dtype);  // tests/format has these by value
    out.scales.push_back(scale);
    for (int64_t i = begin; i < begin + together; ++i) {
      const float code = std::fmin(high, std::fmax(low, std::nearbyint(x[i] / scale)));
      out.codes.push_back(static_cast<int>(code));
      out.values.push_back(code * scale);
    }
  }
  return out;
}

// Code k of a row of packed words: `bits` bits from bit k * bits on, least significant first, less the
// offset.
inline int packed_code(const std::byte* row, int64_t k, int bits) {
  int code = 0;
  for (int b = 0; b < bits; ++b) {
    const int64_t at = k * bits + b;
    code |= (std::to_integer<int>(row[at / 8]) >> (at % 8) & 1) << b;
  }
  return code - (1 << (bits - 1));
}

}  // namespace codecllm::test
