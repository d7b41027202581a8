// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/text_tools.h"

#include "base/utf8.h"
#include "text/unicode.h"

namespace codecllm::jinja {

std::string_view strip(std::string_view text, const std::optional<std::string>& what, bool left, bool right) {
  const auto goes = [&](std::string_view character) {
    if (what) return what->find(character) != std::string::npos;
    return text::is_whitespace(decode_utf8(character, 0).code);
  };
  while (left && !text.empty()) {
    const size_t size = decode_utf8(text, 0).size;
    if (!goes(text.substr(0, size))) break;
    text.remove_prefix(size);
  }
  while (right && !text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) begin--;
    if (!goes(text.substr(begin))) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

std::string replace(Runtime& r, const std::string& text, const std::string& from, const std::string& to,
                    int64_t limit) {
  std::string out;
  size_t at = 0;
  for (int64_t done = 0; limit < 0 || done < limit; done++) {
    // An empty text is found between all characters, and at both ends.
    const size_t found = from.empty() ? at : text.find(from, at);
    if (found == std::string::npos || found > text.size()) break;
    r.charge(to.size());
    out.append(text, at, found - at).append(to);
    at = found + from.size();
    if (!from.empty()) continue;
    if (at == text.size()) return out;
    const size_t size = decode_utf8(text, at).size;
    out.append(text, at, size);
    at += size;
  }
  return at < text.size() ? out.append(text, at) : out;
}

static std::vector<Value> split_at_whitespace(Runtime& r, std::string_view text, int64_t limit) {
  std::vector<Value> out;
  text = strip(text, std::nullopt, true, false);
  while (!text.empty()) {
    size_t end = 0;
    while (end < text.size()) {
      const auto step = decode_utf8(text, end);
      if (text::is_whitespace(step.code)) break;
      end += step.size;
    }
    if (limit >= 0 && static_cast<int64_t>(out.size()) == limit) end = text.size();
    r.charge(sizeof(Value) + end);
    out.push_back(std::string(text.substr(0, end)));
    text = strip(text.substr(end), std::nullopt, true, false);
  }
  return out;
}

std::vector<Value> split(Runtime& r, std::string_view text, const std::optional<std::string>& separator,
                         int64_t limit) {
  if (!separator) return split_at_whitespace(r, text, limit);
  if (separator->empty()) r.fail("split wants a separator that is not empty");
  std::vector<Value> out;
  for (;;) {
    const bool more = limit < 0 || static_cast<int64_t>(out.size()) < limit;
    const size_t found = more ? text.find(*separator) : std::string_view::npos;
    r.charge(sizeof(Value) + std::min(found, text.size()));
    out.push_back(std::string(text.substr(0, found)));
    if (found == std::string_view::npos) return out;
    text.remove_prefix(found + separator->size());
  }
}

std::string capitalize(const std::string& text) {
  if (text.empty()) return text;
  const size_t size = decode_utf8(text, 0).size;
  return text::to_upper(text.substr(0, size)) + text::to_lower(std::string_view(text).substr(size));
}

std::string title(const std::string& text, std::string_view borders) {
  std::string out;
  bool at_border = true;
  for_each_character(text, [&](char32_t code, size_t begin, size_t end) {
    const std::string character = text.substr(begin, end - begin);
    out += at_border ? text::to_upper(character) : text::to_lower(character);
    at_border = borders.empty() ? !text::is_letter(code) : borders.find(character) != std::string_view::npos;
  });
  return out;
}

}  // namespace codecllm::jinja
