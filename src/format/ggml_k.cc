// SPDX-License-Identifier: Apache-2.0
// Blocks of 256 values: eight or sixteen sub-blocks whose own scales are integers of the block's.
#include "format/ggml_blocks.h"
#include "format/plain_float.h"

namespace codecllm {

namespace {

struct ScaleAndMin {
  int scale, min;  // 0 to 63
};

// Eight pairs of 6 bits in twelve bytes: the first four pairs in the low 6 bits of bytes 0-3 and 4-7; the others have
// their low nibbles in bytes 8-11 and their upper two bits on top of the first ones.
ScaleAndMin six_bits(const uint8_t* s, int j) {
  if (j < 4) return {s[j] & 63, s[j + 4] & 63};
  return {(s[j + 4] & 15) | s[j - 4] >> 6 << 4, s[j + 4] >> 4 | s[j] >> 6 << 4};
}

// d, dmin, twelve bytes of scales and minima, then (`fifth` given) 32 bytes of fifth bits, and 128 bytes of nibbles:
// every 32 of them hold sub-block 2p in the low and 2p + 1 in the high halves.   x = d scale code - dmin min
void with_minima(const uint8_t* block, const uint8_t* fifth, const uint8_t* codes, float* out) {
  const float d = load_float(block, 0, DType::f16), dmin = load_float(block, 1, DType::f16);
  for (int j = 0; j < 8; ++j) {
    const ScaleAndMin pair = six_bits(block + 4, j);
    const float scale = d * static_cast<float>(pair.scale), offset = dmin * static_cast<float>(pair.min);
    for (int i = 0; i < 32; ++i) {
      int code = codes[j / 2 * 32 + i] >> (j % 2 * 4) & 15;
      if (fifth != nullptr) code |= (fifth[i] >> j & 1) << 4;
      out[32 * j + i] = scale * static_cast<float>(code) - offset;
    }
  }
}

}  // namespace

void ggml_q4_k(const uint8_t* block, float* out) { with_minima(block, nullptr, block + 16, out); }
void ggml_q5_k(const uint8_t* block, float* out) { with_minima(block, block + 16, block + 48, out); }

// A byte for each sixteen values, scale in the low half and minimum in the high one, 64 bytes of bit pairs, d, dmin. In each
// half of 128 values, quarter q (32 values) has bit pair q of the half's 32 bytes.   x = d scale code - dmin min
void ggml_q2_k(const uint8_t* block, float* out) {
  const float d = load_float(block + 80, 0, DType::f16), dmin = load_float(block + 80, 1, DType::f16);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, quarter = i % 128 / 32, lane = i % 32, pair = block[i / 16];
    const int code = block[16 + 32 * half + lane] >> (2 * quarter) & 3;
    out[i] = d * static_cast<float>(pair & 15) * static_cast<float>(code) - dmin * static_cast<float>(pair >> 4);
  }
}

// 32 bytes of third bits, 64 of bit pairs (as in Q2_K), sixteen scales of 6 bits, d. Bit b of third byte `lane` belongs to the
// value `lane` of the block's quarter-half b; where it is not set, the code is less by 4. Scales have their nibbles in eight
// bytes, the low halves first, and their upper bits in the four bytes behind.   x = d (scale - 32) code
void ggml_q3_k(const uint8_t* block, float* out) {
  const uint8_t* scales = block + 96;
  const float d = load_float(block + 108, 0, DType::f16);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, quarter = i % 128 / 32, lane = i % 32, j = i / 16;
    const int low = scales[j % 8] >> (j / 8 * 4) & 15, high = scales[8 + j % 4] >> (j / 4 * 2) & 3;
    const int third = block[lane] >> (4 * half + quarter) & 1;
    const int code = (block[32 + 32 * half + lane] >> (2 * quarter) & 3) - (third != 0 ? 0 : 4);
    out[i] = d * static_cast<float>((low | high << 4) - 32) * static_cast<float>(code);
  }
}

// 128 bytes of low nibbles, 64 of upper bit pairs, 16 signed scales, d. In each half of 128 values, quarter q (32
// values) has its nibbles in bytes q % 2 * 32 on, low for q < 2, and bit pair q of the upper bytes.
void ggml_q6_k(const uint8_t* block, float* out) {
  const float d = load_float(block + 208, 0, DType::f16);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, quarter = i % 128 / 32, lane = i % 32;
    const int low = block[64 * half + quarter % 2 * 32 + lane] >> (quarter / 2 * 4) & 15;
    const int high = block[128 + 32 * half + lane] >> (2 * quarter) & 3;
    const auto scale = static_cast<int8_t>(block[192 + i / 16]);
    out[i] = d * static_cast<float>(scale) * static_cast<float>((low | high << 4) - 32);
  }
}

}  // namespace codecllm
