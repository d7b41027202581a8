// SPDX-License-Identifier: Apache-2.0
// The block formats of GGUF files: their sizes, their values, and the quantizers of those that are written.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace codecllm {

enum class GgmlType : uint8_t {
#define GGML_TYPE(id, number, name, values, bytes, decoder) id,
#include "format/ggml_type.def"
#undef GGML_TYPE
};

struct GgmlTraits {
  uint32_t number;
  std::string_view name;
  int64_t block_values, block_bytes;
  void (*decode)(const uint8_t* block, float* out);  // out [block_values]; null: sized but not decoded
};

const GgmlTraits& ggml_traits(GgmlType type);
std::optional<GgmlType> ggml_type_of(uint32_t number);

// out.size() values, whole blocks. Exact but for the last rounding to float where a block has an offset. Throws
// Error(unsupported) for types without a decoder.
void dequantize_ggml(GgmlType type, const void* data, std::span<float> out);

// One block of 32 values as Q8_0 and Q4_0 have it: a scale that is F16, and codes in order.
struct GgmlBlock {
  float scale;
  int8_t codes[32];
};
GgmlBlock read_q8_0(const void* block);
GgmlBlock read_q4_0(const void* block);  // codes -8 to 7
GgmlBlock read_q5_0(const void* block);  // codes -16 to 15
void write_q8_0(const GgmlBlock& block, void* out);  // 34 bytes
void write_q4_0(const GgmlBlock& block, void* out);  // 18 bytes

// As llama.cpp's reference quantizers find them, byte for byte. Q8_0 takes amax / 127, rounding half away from zero;
// Q4_0 takes the value of largest magnitude / -8, so that it is exact. values [32], finite
GgmlBlock quantize_q8_0(const float* values);
GgmlBlock quantize_q4_0(const float* values);

}  // namespace codecllm
