// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "codecllm/error.h"
#include "text/jinja/string_literal.h"

namespace codecllm::jinja {

void fail_at(int line, const std::string& what) {
  throw Error(ErrorCode::bad_input, "chat_template", "line " + std::to_string(line) + ": " + what);
}

namespace {

using Kind = Token::Kind;

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) text_and_tag();
    tokens_.push_back({Kind::end, "", line_});
    return std::move(tokens_);
  }

 private:
  bool here(std::string_view text) const { return std::string_view(source_).substr(at_).starts_with(text); }

  void skip(size_t count) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<ptrdiff_t>(at_),
                                         source_.begin() + static_cast<ptrdiff_t>(at_ + count), '\n'));
    at_ += count;
  }

  void skip_spaces() {
    while (at_ < source_.size() && is_space(source_[at_])) skip(1);
  }

  void put(Kind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  size_t next_tag() const {
    size_t tag = at_;
    while ((tag = source_.find('{', tag)) != std::string::npos) {
      const char next = tag + 1 < source_.size() ? source_[tag + 1] : '\0';
      if (next == '%' || next == '{' || next == '#') return tag;
      tag++;
    }
    return source_.size();
  }

  void text_and_tag() {
    const size_t tag = next_tag();
    const char kind = tag < source_.size() ? source_[tag + 1] : '\0';
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    std::string text = source_.substr(at_, tag - at_);
    if (kind != '\0') trim_before(text, kind, sign);
    if (!text.empty()) put(Kind::text, text);
    skip(tag - at_);
    if (kind == '\0') return;
    skip(sign == '-' || (sign == '+' && kind != '{') ? 3 : 2);
    if (kind == '#') {
      comment();
    } else if (kind == '{') {
      put(Kind::print_begin, "{{");
      inside("}}", Kind::print_end);
    } else if (!raw_block()) {
      put(Kind::block_begin, "{%");
      inside("%}", Kind::block_end);
    }
  }

  // What stands before a tag: `-` takes all whitespace, lstrip_blocks the blanks of the tag's own line.
  void trim_before(std::string& text, char kind, char sign) const {
    if (sign == '-') {
      while (!text.empty() && is_space(text.back())) text.pop_back();
      return;
    }
    if (sign == '+' || kind == '{') return;
    const size_t newline = text.rfind('\n');
    if (newline == std::string::npos && !line_starting_) return;
    const size_t line = newline == std::string::npos ? 0 : newline + 1;
    if (std::all_of(text.begin() + static_cast<ptrdiff_t>(line), text.end(), is_space)) text.resize(line);
  }

  // After a tag's end: `-` takes all whitespace, trim_blocks one newline.
  void trim_after(bool minus, bool plus, bool block) {
    line_starting_ = false;
    if (minus) {
      const size_t before = at_;
      skip_spaces();
      line_starting_ = at_ > before && source_[at_ - 1] == '\n';
    } else if (block && !plus && here("\n")) {
      skip(1);
      line_starting_ = true;
    }
  }

  void comment() {
    const size_t end = source_.find("#}", at_);
    if (end == std::string::npos) fail_at(line_, "a comment does not end");
    const char sign = end > at_ ? source_[end - 1] : '\0';
    skip(end + 2 - at_);
    trim_after(sign == '-', sign == '+', true);
  }

  bool raw_block() {
    const size_t start = at_;
    const int start_line = line_;
    skip_spaces();
    if (here("raw")) {
      skip(3);
      skip_spaces();
      const bool minus = here("-%}");
      if (minus || here("%}")) {
        skip(minus ? 3 : 2);
        if (minus) skip_spaces();
        raw_text();
        return true;
      }
    }
    at_ = start;
    line_ = start_line;
    return false;
  }

  void raw_text() {
    for (size_t tag = at_; (tag = source_.find("{%", tag)) != std::string::npos; tag++) {
      size_t end = tag + 2;
      const char sign = end < source_.size() ? source_[end] : '\0';
      if (sign == '-' || sign == '+') end++;
      while (end < source_.size() && is_space(source_[end])) end++;
      if (source_.compare(end, 6, "endraw") != 0) continue;
      end += 6;
      while (end < source_.size() && is_space(source_[end])) end++;
      const bool minus = source_.compare(end, 3, "-%}") == 0;
      if (!minus && source_.compare(end, 2, "%}") != 0) continue;
      std::string text = source_.substr(at_, tag - at_);
      line_starting_ = false;
      trim_before(text, '%', sign);
      if (!text.empty()) put(Kind::text, text);
      skip(end + (minus ? 3 : 2) - at_);
      trim_after(minus, false, true);
      return;
    }
    fail_at(line_, "a raw block does not end");
  }

  // The tokens of one tag up to `end`, which does not count inside brackets.
  void inside(std::string_view end, Kind end_kind) {
    std::string open;
    for (;;) {
      skip_spaces();
      if (at_ >= source_.size()) fail_at(line_, "a tag does not end");
      const bool minus = source_[at_] == '-', plus = source_[at_] == '+' && end == "%}";
      if (open.empty() &&
          std::string_view(source_).substr(at_ + ((minus || plus) ? 1 : 0)).starts_with(end)) {
        put(end_kind, std::string(end));
        skip(end.size() + ((minus || plus) ? 1 : 0));
        trim_after(minus, plus, end_kind == Kind::block_end);
        return;
      }
      token(open);
    }
  }

  void token(std::string& open) {
    const char c = source_[at_];
    if (is_digit(c)) return number();
    if (c == '"' || c == '\'') return string(c);
    if (is_name_start(c)) {
      size_t end = at_;
      while (end < source_.size() && (is_name_start(source_[end]) || is_digit(source_[end]))) end++;
      put(Kind::name, source_.substr(at_, end - at_));
      at_ = end;
      return;
    }
    static constexpr std::array<std::string_view, 27> signs = {
        "**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">",
        "=",  "(",  ")",  "[",  "]",  "{",  "}", ",", ".", ":", "|", ";", "!"};
    const auto sign = std::find_if(signs.begin(), signs.end(), [&](std::string_view s) { return here(s); });
    if (sign == signs.end()) fail_at(line_, std::string("unexpected character '") + c + "'");
    if (c == '(' || c == '[' || c == '{') open += c;
    if (c == ')' || c == ']' || c == '}') {
      const char opener = c == ')' ? '(' : c == ']' ? '[' : '{';
      if (open.empty() || open.back() != opener) fail_at(line_, std::string("unexpected '") + c + "'");
      open.pop_back();
    }
    put(Kind::sign, std::string(*sign));
    skip(sign->size());
  }

  // 0x1F, 0o17 and 0b11 become decimal.
  bool prefixed_number() {
    const char letter = at_ + 1 < source_.size() ? static_cast<char>(source_[at_ + 1] | 0x20) : '\0';
    const int base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (source_[at_] != '0' || base == 0) return false;
    uint32_t value = 0;
    const char* first = source_.data() + at_ + 2;
    const auto result = std::from_chars(first, source_.data() + source_.size(), value, base);
    if (result.ec != std::errc()) fail_at(line_, "a number cannot be read");
    put(Kind::integer, std::to_string(value));
    at_ = static_cast<size_t>(result.ptr - source_.data());
    return true;
  }

  void number() {
    if (prefixed_number()) return;
    size_t end = at_;
    bool is_float = false;
    const auto digits = [&] {
      while (end < source_.size() && (is_digit(source_[end]) || source_[end] == '_')) end++;
    };
    digits();
    if (end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1])) {
      is_float = true;
      end++;
      digits();
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      size_t exponent = end + 1;
      if (exponent < source_.size() && (source_[exponent] == '-' || source_[exponent] == '+')) exponent++;
      if (exponent < source_.size() && is_digit(source_[exponent])) {
        is_float = true;
        end = exponent;
        digits();
      }
    }
    std::string text = source_.substr(at_, end - at_);
    std::erase(text, '_');
    put(is_float ? Kind::number : Kind::integer, text);
    at_ = end;
  }

  void string(char quote) {
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail_at(line_, "a string does not end");
    put(Kind::string, unescape(std::string_view(source_).substr(at_ + 1, end - at_ - 1)));
    skip(end + 1 - at_);
  }

  const std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> lex(std::string_view source) {
  // Line ends are \n inside templates, and the last one does not count.
  std::string text;
  for (size_t i = 0; i < source.size(); i++) {
    if (source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n') continue;
    text += source[i] == '\r' ? '\n' : source[i];
  }
  if (text.ends_with('\n')) text.pop_back();
  return Lexer(std::move(text)).run();
}

}  // namespace codecllm::jinja
