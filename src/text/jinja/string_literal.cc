// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/string_literal.h"

#include <charconv>

#include "base/utf8.h"

namespace codecllm::jinja {

namespace {

// The number of `count` digits in `base` at `at`, or -1.
int64_t digits(std::string_view text, size_t at, size_t count, int base) {
  if (at + count > text.size()) return -1;
  uint32_t value = 0;
  const char* end = text.data() + at + count;
  const auto result = std::from_chars(text.data() + at, end, value, base);
  return result.ptr == end ? value : -1;
}

void append_code(std::string& out, int64_t code) {
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  append_utf8(out,
                    surrogate || code > 0x10FFFF ? replacement_character : static_cast<char32_t>(code));
}

}  // namespace

std::string unescape(std::string_view text) {
  static constexpr std::string_view plain = "\\'\"abfnrtv", means = "\\'\"\a\b\f\n\r\t\v";
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char c = text[++i];
    const size_t hex = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (const size_t simple = plain.find(c); simple != std::string_view::npos) {
      out += means[simple];
    } else if (const int64_t code = hex > 0 ? digits(text, i + 1, hex, 16) : -1; code >= 0) {
      append_code(out, code);
      i += hex;
    } else if (c >= '0' && c <= '7') {
      size_t count = 1;
      while (count < 3 && i + count < text.size() && text[i + count] >= '0' && text[i + count] <= '7')
        count++;
      append_code(out, digits(text, i, count, 8));
      i += count - 1;
    } else if (c != '\n') {
      out += {'\\', c};
    }
  }
  return out;
}

}  // namespace codecllm::jinja
