// SPDX-License-Identifier: Apache-2.0
#include "text/byte_level.h"

#include <array>

#include "base/utf8.h"

namespace codecllm::text {

namespace {

// Printable Latin-1 stands for itself; the other 68 bytes take the characters from U+0100 on, in order.
struct Alphabet {
  std::array<char32_t, 256> character{};
  std::array<int16_t, 256 + 68> byte{};  // -1: no byte has this character

  constexpr Alphabet() {
    for (auto& b : byte) b = -1;
    char32_t next = 256;
    for (int b = 0; b < 256; b++) {
      const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      character[static_cast<size_t>(b)] = printable ? static_cast<char32_t>(b) : next++;
      byte[character[static_cast<size_t>(b)]] = static_cast<int16_t>(b);
    }
  }
};
constexpr Alphabet alphabet;

}  // namespace

char32_t byte_to_character(unsigned char byte) { return alphabet.character[byte]; }

std::optional<unsigned char> character_to_byte(char32_t code) {
  if (code >= alphabet.byte.size() || alphabet.byte[code] < 0) return std::nullopt;
  return static_cast<unsigned char>(alphabet.byte[code]);
}

std::string bytes_to_characters(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char byte : bytes) append_utf8(out, byte_to_character(static_cast<unsigned char>(byte)));
  return out;
}

}  // namespace codecllm::text
