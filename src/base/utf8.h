// SPDX-License-Identifier: Apache-2.0
// UTF-8 by hand: what arrives may be any bytes, what leaves is always well-formed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace codecllm {

inline constexpr char32_t replacement_character = 0xFFFD;

struct Utf8Step {
  char32_t code = replacement_character;
  size_t size =
      1;  // bytes to go forward; for an invalid sequence its longest prefix that could have begun one
  bool valid = false;
  bool truncated = false;  // invalid only because the text ended here
};

// The character at byte `at` (< text.size()).
Utf8Step decode_utf8(std::string_view text, size_t at);

void append_utf8(std::string& out, char32_t code);

bool is_utf8(std::string_view text);

// Every invalid sequence becomes one U+FFFD, where sequences end as in the Unicode standard's "maximal
// subpart" rule (what Rust's from_utf8_lossy and web browsers do).
std::string to_valid_utf8(std::string_view bytes);

// Text from a file, made fit for an error message: one line, control characters escaped, long text cut.
std::string shown(std::string_view text);

// How many bytes at the end are the beginning of a character that more bytes could complete: 0 to 3.
size_t incomplete_utf8_tail(std::string_view bytes);

// Calls visit(code, begin, end) for every character of well-formed text.
template <class Visit>
void for_each_character(std::string_view text, Visit visit) {
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = decode_utf8(text, at);
    visit(step.code, at, at + step.size);
    at += step.size;
  }
}

}  // namespace codecllm
