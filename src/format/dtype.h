// SPDX-License-Identifier: Apache-2.0
// Element types of files, under their safetensors names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace codecllm {

enum class DType : uint8_t {
#define DTYPE(id, name, bits) id,
#include "format/dtype.def"
#undef DTYPE
};

std::string_view dtype_name(DType type);
int dtype_bits(DType type);
std::optional<DType> dtype_from_name(std::string_view name);

// Types that hold plain weights: f32, bf16, f16.
inline bool is_plain_float(DType type) { return type == DType::f32 || type == DType::bf16 || type == DType::f16; }

}  // namespace codecllm
