// SPDX-License-Identifier: Apache-2.0
// Plain weights of a file (f32, bf16, f16) as float and back. Addresses need not be aligned.
#pragma once

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

// out.size() elements from element `first` on.
inline void load_floats(const void* data, int64_t first, DType type, std::span<float> out) {
  for (size_t i = 0; i < out.size(); ++i) out[i] = load_float(data, first + static_cast<int64_t>(i), type);
}

}  // namespace codecllm
