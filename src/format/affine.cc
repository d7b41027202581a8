// SPDX-License-Identifier: Apache-2.0
#include "format/affine.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "format/float16.h"

namespace codecllm {

// The next power of two that is not smaller, within E8M0's range: rounding up never pushes a value out of the grid.
static float power_of_two(float value) {
  int exponent = 0;
  const float mantissa = std::frexp(value, &exponent);  // in [0.5, 1)
  if (mantissa == 0.5f) --exponent;
  return std::isfinite(value) ? std::ldexp(1.0f, std::clamp(exponent, -127, 127)) : value;
}

float round_to(float value, DType type) {
  switch (type) {
    case DType::bf16: return bf16_to_f32(f32_to_bf16(value));
    case DType::f16: return f16_to_f32(f32_to_f16(value));
    case DType::f8_e8m0: return power_of_two(value);
    default: return value;
  }
}

float stored_scale(float scale, float amax, DType stored) {
  const float rounded = amax == 0 ? 0 : round_to(scale, stored);
  if (std::isinf(rounded) && std::isfinite(scale)) return stored == DType::f16 ? 65504.0f : 0x1.FEp127f;
  if (!(rounded <= 0)) return rounded;  // NaN, too: it is for the caller to refuse
  const bool zeros = amax == 0;
  switch (stored) {
    case DType::f16: return zeros ? 0x1p-10f : 0x1p-24f;
    case DType::bf16: return zeros ? 0x1p-7f : 0x1p-133f;
    case DType::f8_e8m0: return zeros ? 1.0f : 0x1p-127f;
    default: return zeros ? std::numeric_limits<float>::epsilon() : std::numeric_limits<float>::denorm_min();
  }
}

float symmetric_scale(float amax, int bits, ScaleRule rule, DType stored) {
  const int limit = code_limit(bits);
  const float steps = rule == ScaleRule::restricted ? static_cast<float>(limit) : static_cast<float>(limit) + 0.5f;
  return stored_scale(amax / steps, amax, stored);
}

float finite_amax(std::span<const float> values) {
  float largest = 0, sick = 0;  // x * 0 is NaN for what is not finite
  for (float v : values) {
    largest = std::max(largest, std::fabs(v));
    sick += v * 0.0f;
  }
  return sick == 0 ? largest : std::numeric_limits<float>::quiet_NaN();
}

void quantize(std::span<const float> values, float scale, int bits, ScaleRule rule, int8_t* codes) {
  const auto high = static_cast<float>(code_limit(bits)), low = rule == ScaleRule::restricted ? -high : -high - 1;
  // Adding 1.5 * 2^23 leaves no bits below one, so the addition itself rounds half to even; unlike std::nearbyint it
  // compiles to vector code on every CPU.
  constexpr float kRound = 12582912.0f;
  for (size_t i = 0; i < values.size(); ++i) {
    const float bounded = std::min(high, std::max(low, values[i] / scale));
    codes[i] = static_cast<int8_t>(static_cast<int32_t>((bounded + kRound) - kRound));
  }
}

}  // namespace codecllm
