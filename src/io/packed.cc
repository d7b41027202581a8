// SPDX-License-Identifier: Apache-2.0
#include "io/packed.h"

#include <cstring>
#include <string>

#include "codecllm/error.h"

namespace codecllm {

namespace {

void check_bits(int bits) {
  if (bits < 1 || bits > 8)
    throw Error(ErrorCode::bad_call, "packed", std::to_string(bits) + " bits per code, expected 1 to 8");
}

uint32_t stored(int8_t code, int bits) {
  return (static_cast<uint32_t>(code) + (1u << (bits - 1))) & ((1u << bits) - 1);
}

// Word `i` of a row whose words stand `stride` words apart.
uint32_t word_at(const void* words, size_t i, size_t stride) {
  uint32_t word;
  std::memcpy(&word, static_cast<const char*>(words) + i * stride * sizeof word, sizeof word);
  return word;
}

// Packed codes begin .. begin+n, words `stride` apart, to codes `code_stride` apart.
void unpack(const void* words, size_t begin, size_t n, int bits, Packing packing, size_t stride,
            int8_t* codes, size_t code_stride) {
  const size_t width = static_cast<size_t>(bits), per_word = 32 / width;
  const uint32_t mask = (1u << bits) - 1;
  const int half = 1 << (bits - 1);
  for (size_t i = 0; i < n; ++i) {
    const size_t at = begin + i;
    const size_t first = packing == Packing::dense ? at * width / 32 : at / per_word;
    const size_t shift = packing == Packing::dense ? at * width % 32 : at % per_word * width;
    uint64_t value = word_at(words, first, stride);
    if (shift + width > 32) value |= static_cast<uint64_t>(word_at(words, first + 1, stride)) << 32;
    codes[i * code_stride] = static_cast<int8_t>(static_cast<int>((value >> shift) & mask) - half);
  }
}

void pack(const int8_t* codes, size_t n, size_t code_stride, int bits, uint32_t* words, size_t stride) {
  uint64_t pending = 0;
  int filled = 0;
  for (size_t i = 0; i < n; ++i) {
    pending |= static_cast<uint64_t>(stored(codes[i * code_stride], bits)) << filled;
    filled += bits;
    if (filled < 32) continue;
    *words = static_cast<uint32_t>(pending);
    words += stride;
    pending >>= 32;
    filled -= 32;
  }
  if (filled > 0) *words = static_cast<uint32_t>(pending);
}

}  // namespace

size_t packed_words(size_t n, int bits, Packing packing) {
  check_bits(bits);
  const size_t width = static_cast<size_t>(bits), per_word = 32 / width;
  if (packing == Packing::per_word) return n / per_word + (n % per_word != 0);
  return n / 32 * width + (n % 32 * width + 31) / 32;
}

Packing packing_of(size_t n, int bits, size_t words) {
  if (words == packed_words(n, bits, Packing::dense)) return Packing::dense;
  if (words == packed_words(n, bits, Packing::per_word)) return Packing::per_word;
  throw Error(ErrorCode::bad_input, "packed",
              std::to_string(words) + " words for " + std::to_string(n) + " codes of " +
                  std::to_string(bits) + " bits, expected " + std::to_string(packed_words(n, bits)));
}

void pack_row(const int8_t* codes, size_t n, int bits, uint32_t* words) {
  check_bits(bits);
  pack(codes, n, 1, bits, words, 1);
}

void unpack_row(const void* words, size_t begin, size_t n, int bits, Packing packing, int8_t* codes) {
  check_bits(bits);
  // Both widths lie whole in bytes; these loops become vector code, and a model's load time is spent here.
  const auto* bytes = static_cast<const uint8_t*>(words);
  if (bits == 8) {
    for (size_t i = 0; i < n; ++i) codes[i] = static_cast<int8_t>(bytes[begin + i] ^ 0x80);
    return;
  }
  if (bits == 4 && begin % 2 == 0) {
    for (size_t i = 0; i < n / 2; ++i) {
      codes[2 * i] = static_cast<int8_t>((bytes[begin / 2 + i] & 15) - 8);
      codes[2 * i + 1] = static_cast<int8_t>((bytes[begin / 2 + i] >> 4) - 8);
    }
    if (n % 2 != 0) codes[n - 1] = static_cast<int8_t>((bytes[(begin + n) / 2] & 15) - 8);
    return;
  }
  unpack(words, begin, n, bits, packing, 1, codes, 1);
}

void pack_zero_points(const int8_t* zero_points, size_t rows, size_t groups, int bits, uint32_t* words) {
  check_bits(bits);
  for (size_t g = 0; g < groups; ++g) pack(zero_points + g, rows, groups, bits, words + g, groups);
}

int8_t zero_point_at(const void* words, size_t row, size_t group, size_t groups, int bits, Packing packing) {
  check_bits(bits);
  int8_t zero = 0;
  unpack(static_cast<const char*>(words) + group * sizeof(uint32_t), row, 1, bits, packing, groups, &zero, 1);
  return zero;
}

void unpack_zero_points(const void* words, size_t rows, size_t groups, int bits, Packing packing,
                        int8_t* zero_points) {
  check_bits(bits);
  for (size_t g = 0; g < groups; ++g)
    unpack(static_cast<const char*>(words) + g * sizeof(uint32_t), 0, rows, bits, packing, groups,
           zero_points + g, groups);
}

}  // namespace codecllm
