// SPDX-License-Identifier: Apache-2.0
// Plain weights of a file (f32, bf16, f16) as float and back. Addresses need not be aligned.
#pragma once

#include <bit>
#include <cstring>
#include <span>

#include "format/dtype.h"
#include "format/float16.h"

namespace codecllm {

// Element i of an array of this type.
inline float load_float(const void* data, int64_t i, DType type) {
  if (type == DType::f32) {
    float value;
    std::memcpy(&value, static_cast<const char*>(data) + 4 * i, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, static_cast<const char*>(data) + 2 * i, 2);
  return type == DType::bf16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

inline void store_float(void* data, int64_t i, DType type, float value) {
  if (type == DType::f32) {
    std::memcpy(static_cast<char*>(data) + 4 * i, &value, 4);
    return;
  }
  const uint16_t bits = type == DType::bf16 ? f32_to_bf16(value) : f32_to_f16(value);
  std::memcpy(static_cast<char*>(data) + 2 * i, &bits, 2);
}

// A scale: plain floats, or E8M0 (2^(code - 127); 255 is NaN), which some files call U8.
inline float load_scale(const void* data, int64_t i, DType type) {
  if (type != DType::f8_e8m0 && type != DType::u8) return load_float(data, i, type);
  const uint32_t code = static_cast<const uint8_t*>(data)[i];
  if (code == 255) return std::bit_cast<float>(0x7FC00000u);
  return code == 0 ? 0x1p-127f : std::bit_cast<float>(code << 23);
}

// E8M0: of a power of two.
inline void store_scale(void* data, int64_t i, DType type, float value) {
  if (type != DType::f8_e8m0) return store_float(data, i, type, value);
  static_cast<uint8_t*>(data)[i] = static_cast<uint8_t>(std::bit_cast<uint32_t>(value) >> 23);
}

inline bool is_scale_type(DType type) { return is_plain_float(type) || type == DType::f8_e8m0 || type == DType::u8; }

// out.size() elements from element `first` on.
inline void load_floats(const void* data, int64_t first, DType type, std::span<float> out) {
  for (size_t i = 0; i < out.size(); ++i) out[i] = load_float(data, first + static_cast<int64_t>(i), type);
}

}  // namespace codecllm
