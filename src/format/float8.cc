// SPDX-License-Identifier: Apache-2.0
#include "format/float8.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

namespace codecllm {

namespace {

// Adding 1.5 * 2^(e + 23 - m), e the value's own exponent, leaves m bits below the leading one: the addition itself
// rounds half to even. Below the smallest normal number the step stays the same.
float rounded_float8(float value, const Float8& f) {
  const float bounded = std::min(f.largest, std::max(-f.largest, value));
  const float power = std::bit_cast<float>(std::bit_cast<uint32_t>(bounded) & 0x7F800000u);
  const float shift = std::max(power, f.smallest_normal) * (1.5f * static_cast<float>(1 << (23 - f.mantissa_bits)));
  return (bounded + shift) - shift;
}

uint8_t code_float8(float value, const Float8& f) {
  const float rounded = std::fabs(rounded_float8(value, f));
  const int drop = 23 - f.mantissa_bits;
  const auto normal = static_cast<int32_t>(std::bit_cast<uint32_t>(rounded) >> drop) - ((127 - f.bias) << f.mantissa_bits);
  const auto subnormal = static_cast<int32_t>(std::min(rounded, f.smallest_normal) * (static_cast<float>(1 << f.mantissa_bits) / f.smallest_normal));
  const uint32_t sign = std::bit_cast<uint32_t>(value) >> 31 << 7;
  const auto code = static_cast<uint32_t>(rounded < f.smallest_normal ? subnormal : normal);
  return static_cast<uint8_t>(sign | (value != value ? 0x7Fu : code));
}

float value_float8(uint8_t code, const Float8& f) {
  const int magnitude = code & 0x7F, exponent = magnitude >> f.mantissa_bits;
  const int mantissa = magnitude & ((1 << f.mantissa_bits) - 1);
  float value;
  if (f.mantissa_bits == 2 && exponent == 31) {
    value = mantissa == 0 ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
  } else if (f.mantissa_bits == 3 && magnitude == 0x7F) {
    value = std::numeric_limits<float>::quiet_NaN();
  } else {
    const int leading = exponent == 0 ? 0 : 1 << f.mantissa_bits;
    value = std::ldexp(static_cast<float>(leading + mantissa), std::max(exponent, 1) - f.bias - f.mantissa_bits);
  }
  return code & 0x80 ? -value : value;
}

const std::array<float, 256>& values_of(const Float8& format) {
  const auto fill = [](const Float8& f) {
    std::array<float, 256> values;
    for (int code = 0; code < 256; ++code) values[code] = value_float8(static_cast<uint8_t>(code), f);
    return values;
  };
  static const std::array<float, 256> e4m3 = fill(kE4m3), e5m2 = fill(kE5m2);
  return format.mantissa_bits == 3 ? e4m3 : e5m2;
}

}  // namespace

float float8_to_f32(uint8_t code, const Float8& format) { return values_of(format)[code]; }

uint8_t f32_to_float8(float value, const Float8& format) { return code_float8(value, format); }

void encode_float8(std::span<const float> values, float scale, const Float8& format, int8_t* codes) {
  const Float8 f = format.mantissa_bits == 3 ? kE4m3 : kE5m2;
  for (size_t i = 0; i < values.size(); ++i) codes[i] = static_cast<int8_t>(code_float8(values[i] / scale, f));
}

void decode_float8(std::span<const int8_t> codes, float scale, const Float8& format, float* values) {
  const std::array<float, 256>& table = values_of(format);
  for (size_t i = 0; i < codes.size(); ++i) values[i] = table[static_cast<uint8_t>(codes[i])] * scale;
}

}  // namespace codecllm
