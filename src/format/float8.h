// SPDX-License-Identifier: Apache-2.0
// 8-bit floats: E4M3 (finite only, as torch's float8_e4m3fn) and E5M2. Rounding is to the nearest, ties to even, and
// saturates: what is larger than the largest number, infinity too, becomes the largest number. NaN stays NaN.
#pragma once

#include <cstdint>
#include <span>

namespace codecllm {

struct Float8 {
  int mantissa_bits, bias;
  float largest, smallest_normal;
};
inline constexpr Float8 kE4m3 = {3, 7, 448.0f, 0x1p-6f};
inline constexpr Float8 kE5m2 = {2, 15, 57344.0f, 0x1p-14f};

float float8_to_f32(uint8_t code, const Float8& format);
uint8_t f32_to_float8(float value, const Float8& format);

// codes = value / scale, rounded; both [n]
void encode_float8(std::span<const float> values, float scale, const Float8& format, int8_t* codes);
// values = code * scale
void decode_float8(std::span<const int8_t> codes, float scale, const Float8& format, float* values);

}  // namespace codecllm
