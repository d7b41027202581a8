// SPDX-License-Identifier: Apache-2.0
#include "io/header_scanner.h"

#include "base/utf8.h"
#include "codecllm/error.h"

namespace codecllm {

void HeaderScanner::fail(std::string_view what) const {
  throw Error(ErrorCode::bad_input, "safetensors",
              "header byte " + std::to_string(at_) + ": " + std::string(what), {.file = file_});
}

void HeaderScanner::skip_space() {
  while (at_ < text_.size() &&
         (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
    ++at_;
}

bool HeaderScanner::accept(char token) {
  skip_space();
  if (at_ == text_.size() || text_[at_] != token) return false;
  ++at_;
  return true;
}

void HeaderScanner::expect(char token) {
  if (accept(token)) return;
  const std::string got = at_ == text_.size() ? "the end" : "'" + shown(text_.substr(at_, 1)) + "'";
  fail("expected '" + std::string(1, token) + "', got " + got);
}

void HeaderScanner::expect_end() {
  skip_space();
  if (at_ != text_.size()) fail("something follows the closing brace");
}

unsigned char HeaderScanner::next() {
  if (at_ == text_.size()) fail("the header ends inside a string");
  return static_cast<unsigned char>(text_[at_++]);
}

uint32_t HeaderScanner::hex4() {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned char c = next(), lower = c | 0x20;
    const bool digit = c >= '0' && c <= '9';
    if (!digit && (lower < 'a' || lower > 'f')) fail("\\u needs four hexadecimal digits");
    value = value * 16 + (digit ? c - '0' : lower - 'a' + 10u);
  }
  return value;
}

void HeaderScanner::escape(std::string& out) {
  constexpr std::string_view letters = "\"\\/bfnrt", values = "\"\\/\b\f\n\r\t";
  const unsigned char letter = next();
  if (const size_t i = letters.find(static_cast<char>(letter)); i != letters.npos) {
    out += values[i];
    return;
  }
  if (letter != 'u') fail("no such escape in a string");
  uint32_t code = hex4();
  if (code >= 0xDC00 && code <= 0xDFFF) fail("a lone surrogate in a string");
  if (code >= 0xD800 && code <= 0xDBFF) {
    if (next() != '\\' || next() != 'u') fail("a lone surrogate in a string");
    const uint32_t low = hex4();
    if (low < 0xDC00 || low > 0xDFFF) fail("a lone surrogate in a string");
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  }
  append_utf8(out, code);
}

std::string HeaderScanner::string(size_t limit) {
  expect('"');
  std::string out;
  for (;;) {
    if (out.size() > limit) fail("a string is longer than " + std::to_string(limit) + " bytes");
    const unsigned char c = next();
    if (c == '"') return out;
    if (c == '\\') {
      escape(out);
      continue;
    }
    if (c < 0x20) fail("a control character in a string");
    const Utf8Step step = decode_utf8(text_, at_ - 1);
    if (!step.valid) fail("not valid UTF-8");
    out += text_.substr(at_ - 1, step.size);
    at_ += step.size - 1;
  }
}

int64_t HeaderScanner::number() {
  constexpr int64_t limit = int64_t{1} << 53;
  skip_space();
  const size_t begin = at_;
  int64_t value = 0;
  for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
    value = value * 10 + (text_[at_] - '0');
    if (value > limit) fail("a number over 2^53");
  }
  if (at_ == begin) fail("expected a whole number of 0 or more");
  if (text_[begin] == '0' && at_ - begin > 1) fail("a number with a leading zero");
  if (at_ < text_.size() && (text_[at_] == '.' || text_[at_] == 'e' || text_[at_] == 'E'))
    fail("expected a whole number without fraction or exponent");
  return value;
}

}  // namespace codecllm
