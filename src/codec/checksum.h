// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "codec/byte_words.h"

namespace codecllm {

// Of decoded bytes, eight at a time (little-endian, the last word filled with zeros). Every step is a bijection of the
// state and of the word, so two inputs that differ in one word never agree.
inline uint64_t checksum(uint64_t state, const void* data, size_t bytes) {
  const auto* at = static_cast<const unsigned char*>(data);
  const auto step = [&](uint64_t word) { state = std::rotl((state ^ word) * 0x9E3779B97F4A7C15u, 29); };
  for (; bytes >= 8; at += 8, bytes -= 8) step(load_word(at));
  if (bytes > 0) {
    uint64_t word = 0;
    std::memcpy(&word, at, bytes);
    step(word);
  }
  return state;
}

}  // namespace codecllm
