// SPDX-License-Identifier: Apache-2.0
// Blocks of 32 values with one scale, and the plain types. Values j and j + 16 share a byte: the low nibble is j's.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "format/ggml.h"
#include "format/ggml_blocks.h"
#include "format/plain_float.h"

namespace codecllm {

static float half_at(const uint8_t* at) { return load_float(at, 0, DType::f16); }

static uint32_t fifth_bits(const uint8_t* at) {
  return at[0] | static_cast<uint32_t>(at[1]) << 8 | static_cast<uint32_t>(at[2]) << 16 | static_cast<uint32_t>(at[3]) << 24;
}

static int nibble(const uint8_t* codes, int j) { return j < 16 ? codes[j] & 15 : codes[j - 16] >> 4; }

void ggml_f32(const uint8_t* block, float* out) { *out = load_float(block, 0, DType::f32); }
void ggml_f16(const uint8_t* block, float* out) { *out = load_float(block, 0, DType::f16); }
void ggml_bf16(const uint8_t* block, float* out) { *out = load_float(block, 0, DType::bf16); }

static void scaled(const GgmlBlock& block, float* out) {
  for (int j = 0; j < 32; ++j) out[j] = block.scale * static_cast<float>(block.codes[j]);
}

void ggml_q8_0(const uint8_t* block, float* out) { scaled(read_q8_0(block), out); }
void ggml_q4_0(const uint8_t* block, float* out) { scaled(read_q4_0(block), out); }
void ggml_q5_0(const uint8_t* block, float* out) { scaled(read_q5_0(block), out); }

// d, m, 16 bytes: x = d * code + m
void ggml_q4_1(const uint8_t* block, float* out) {
  const float d = half_at(block), m = half_at(block + 2);
  for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>(nibble(block + 4, j)) + m;
}

// d, m, the fifth bits of all codes, 16 bytes
void ggml_q5_1(const uint8_t* block, float* out) {
  const float d = half_at(block), m = half_at(block + 2);
  const uint32_t high = fifth_bits(block + 4);
  for (int j = 0; j < 32; ++j)
    out[j] = d * static_cast<float>(nibble(block + 8, j) | static_cast<int>(high >> j & 1) << 4) + m;
}

GgmlBlock read_q8_0(const void* block) {
  const auto* bytes = static_cast<const uint8_t*>(block);
  GgmlBlock out;
  out.scale = half_at(bytes);
  std::memcpy(out.codes, bytes + 2, 32);
  return out;
}

GgmlBlock read_q4_0(const void* block) {
  const auto* bytes = static_cast<const uint8_t*>(block);
  GgmlBlock out;
  out.scale = half_at(bytes);
  for (int j = 0; j < 32; ++j) out.codes[j] = static_cast<int8_t>(nibble(bytes + 2, j) - 8);
  return out;
}

GgmlBlock read_q5_0(const void* block) {
  const auto* bytes = static_cast<const uint8_t*>(block);
  const uint32_t high = fifth_bits(bytes + 2);
  GgmlBlock out;
  out.scale = half_at(bytes);
  for (int j = 0; j < 32; ++j)
    out.codes[j] = static_cast<int8_t>((nibble(bytes + 6, j) | static_cast<int>(high >> j & 1) << 4) - 16);
  return out;
}

void write_q8_0(const GgmlBlock& block, void* out) {
  auto* bytes = static_cast<uint8_t*>(out);
  store_float(bytes, 0, DType::f16, block.scale);
  std::memcpy(bytes + 2, block.codes, 32);
}

void write_q4_0(const GgmlBlock& block, void* out) {
  auto* bytes = static_cast<uint8_t*>(out);
  store_float(bytes, 0, DType::f16, block.scale);
  for (int j = 0; j < 16; ++j)
    bytes[2 + j] = static_cast<uint8_t>((block.codes[j] + 8) | (block.codes[j + 16] + 8) << 4);
}

// 1 / scale, or 0 where that is no number: such a block is all zeros.
static float inverse_of(float scale) {
  const float inverse = 1 / scale;
  return std::isfinite(inverse) ? inverse : 0;
}

GgmlBlock quantize_q8_0(const float* values) {
  float amax = 0;
  for (int j = 0; j < 32; ++j) amax = std::max(amax, std::fabs(values[j]));
  GgmlBlock out;
  out.scale = amax / 127;
  const float inverse = inverse_of(out.scale);  // of the scale before it is rounded to F16
  for (int j = 0; j < 32; ++j) out.codes[j] = static_cast<int8_t>(std::round(values[j] * inverse));
  return out;
}

GgmlBlock quantize_q4_0(const float* values) {
  float largest = 0;
  for (int j = 0; j < 32; ++j)
    if (std::fabs(values[j]) > std::fabs(largest)) largest = values[j];
  GgmlBlock out;
  out.scale = largest / -8;
  const float inverse = inverse_of(out.scale);
  for (int j = 0; j < 32; ++j)
    out.codes[j] = static_cast<int8_t>(std::min(15, static_cast<int>(values[j] * inverse + 8.5f)) - 8);
  return out;
}

}  // namespace codecllm
