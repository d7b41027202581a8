// SPDX-License-Identifier: Apache-2.0
#include "format/grid.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "codecllm/error.h"

namespace codecllm {

void Range::include(const Range& other) {
  low = other.low < low || std::isnan(other.low) ? other.low : low;
  high = other.high > high || std::isnan(other.high) ? other.high : high;
}

Range finite_range(std::span<const float> values) {
  Range range;
  float sick = 0;  // x * 0 is NaN for what is not finite
  for (float v : values) {
    range.low = std::min(range.low, v);
    range.high = std::max(range.high, v);
    sick += v * 0.0f;
  }
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  return sick == 0 ? range : Range{kNan, kNan};
}

const Float8& float8_of(NumberType type) {
  if (type == NumberType::floating) return kE4m3;
  if (type == NumberType::float_e5m2) return kE5m2;
  throw Error(ErrorCode::bad_call, "grid", "integers are no 8-bit floats");
}

namespace {

Grid fit_asymmetric(const Range& range, int bits, DType stored) {
  const int lowest = -(1 << (bits - 1)), steps = (1 << bits) - 1;
  // Divided before subtracted, since the difference of two finite numbers may be infinite.
  const auto n = static_cast<float>(steps);
  const float scale = stored_scale(range.high / n - range.low / n, range.amax(), stored);
  const float zero = std::nearbyint(static_cast<float>(lowest) - range.low / scale);
  return {scale, static_cast<int>(std::clamp(zero, static_cast<float>(lowest), static_cast<float>(lowest + steps)))};
}

void encode_asymmetric(std::span<const float> values, const Grid& grid, int bits, int8_t* codes) {
  const auto low = static_cast<float>(-(1 << (bits - 1))), high = -low - 1, zero = static_cast<float>(grid.zero);
  for (size_t i = 0; i < values.size(); ++i)
    codes[i] = static_cast<int8_t>(std::nearbyint(std::min(high, std::max(low, values[i] / grid.scale + zero))));
}

}  // namespace

Grid fit_grid(const Range& range, const QuantArgs& args, ScaleRule rule, DType stored) {
  if (args.type != NumberType::integer)
    return {stored_scale(range.amax() / float8_of(args.type).largest, range.amax(), stored), 0};
  if (args.symmetric) return {symmetric_scale(range.amax(), args.num_bits, rule, stored), 0};
  return fit_asymmetric(range, args.num_bits, stored);
}

void encode(std::span<const float> values, const Grid& grid, const QuantArgs& args, ScaleRule rule, int8_t* codes) {
  if (args.type != NumberType::integer) return encode_float8(values, grid.scale, float8_of(args.type), codes);
  if (args.symmetric) return quantize(values, grid.scale, args.num_bits, rule, codes);
  encode_asymmetric(values, grid, args.num_bits, codes);
}

void decode(std::span<const int8_t> codes, const Grid& grid, const QuantArgs& args, float* values) {
  if (args.type != NumberType::integer) return decode_float8(codes, grid.scale, float8_of(args.type), values);
  for (size_t i = 0; i < codes.size(); ++i) values[i] = static_cast<float>(codes[i] - grid.zero) * grid.scale;
}

}  // namespace codecllm
