// SPDX-License-Identifier: Apache-2.0
#include "format/affine.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "format/float16.h"

namespace codecllm {

float round_to(float value, DType type) {
  switch (type) {
    case DType::bf16: return bf16_to_f32(f32_to_bf16(value));
    case DType::f16: return f16_to_f32(f32_to_f16(value));
    default: return value;
  }
}

float symmetric_scale(float amax, int bits, ScaleRule rule, DType stored) {
  const int limit = code_limit(bits);
  const float steps = rule == ScaleRule::restricted ? static_cast<float>(limit) : static_cast<float>(limit) + 0.5f;
  const float scale = round_to(amax / steps, stored);
  if (scale > 0) return scale;
  const bool half = stored == DType::f16;
  if (amax == 0) return half ? 0x1p-10f : stored == DType::bf16 ? 0x1p-7f : std::numeric_limits<float>::epsilon();
  return half ? 0x1p-24f : stored == DType::bf16 ? 0x1p-133f : std::numeric_limits<float>::denorm_min();
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
