// SPDX-License-Identifier: Apache-2.0
// Eight bytes at a time as one little-endian word.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace codecllm {

static_assert(std::endian::native == std::endian::little);

inline uint64_t load_word(const uint8_t* at) {
  uint64_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}
inline void store_word(uint8_t* at, uint64_t word) { std::memcpy(at, &word, sizeof word); }

inline uint64_t each_byte(uint64_t byte) { return byte * 0x0101010101010101u; }

// Bit `bit` of byte i as bit i: the product brings the eight bits together in its highest byte, no two on one place.
inline uint64_t bit_of_bytes(uint64_t word, int bit) { return ((word >> bit & each_byte(1)) * 0x0102040810204080u) >> 56; }

// Eight numbers below 2^bits, a byte each, as one of 8 * bits bits; at most seven bits.
inline uint64_t pack_bytes(uint64_t word, int bits) {
  word = (word & 0x00FF00FF00FF00FFu) | (word & 0xFF00FF00FF00FF00u) >> (8 - bits);
  word = (word & 0x0000FFFF0000FFFFu) | (word & 0xFFFF0000FFFF0000u) >> (16 - 2 * bits);
  return (word & 0xFFFFFFFFu) | word >> 32 << (4 * bits);
}

// 255 for every byte of at least `least`, 0 for the others; 1 <= least <= 128.
inline uint64_t bytes_from(uint64_t word, uint64_t least) {
  const uint64_t reached = (((word & each_byte(127)) + each_byte(128 - least)) | word) & each_byte(128);
  return (reached >> 7) * 255;
}

}  // namespace codecllm
