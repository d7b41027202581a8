// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

namespace codecllm {

namespace {

// Continuation bytes after a lead byte, and the range of the first of them (the others are 0x80..0xBF). The
// narrow ranges keep out overlong forms, surrogates and what lies above U+10FFFF.
struct Lead {
  uint8_t more, low, high;
};

Lead lead_of(uint8_t byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {1, 0x80, 0xBF};
  if (byte == 0xE0) return {2, 0xA0, 0xBF};
  if (byte == 0xED) return {2, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {2, 0x80, 0xBF};
  if (byte == 0xF0) return {3, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {3, 0x80, 0xBF};
  if (byte == 0xF4) return {3, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

Utf8Step decode_utf8(std::string_view text, size_t at) {
  const auto first = static_cast<uint8_t>(text[at]);
  if (first < 0x80) return {first, 1, true, false};
  const Lead lead = lead_of(first);
  if (lead.more == 0) return {};
  char32_t code = first & (0x3F >> lead.more);
  for (size_t i = 1; i <= lead.more; i++) {
    if (at + i == text.size()) return {replacement_character, i, false, true};
    const auto byte = static_cast<uint8_t>(text[at + i]);
    const bool fits = i == 1 ? byte >= lead.low && byte <= lead.high : (byte & 0xC0) == 0x80;
    if (!fits) return {replacement_character, i, false, false};
    code = code << 6 | (byte & 0x3F);
  }
  return {code, size_t{lead.more} + 1, true, false};
}

void append_utf8(std::string& out, char32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
    return;
  }
  const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  static constexpr uint8_t lead_bits[] = {0, 0xC0, 0xE0, 0xF0};
  out += static_cast<char>(lead_bits[more] | code >> (6 * more));
  for (int i = more - 1; i >= 0; i--) out += static_cast<char>(0x80 | (code >> (6 * i) & 0x3F));
}

bool is_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = decode_utf8(text, at);
    if (!step.valid) return false;
    at += step.size;
  }
  return true;
}

std::string to_valid_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (size_t at = 0; at < bytes.size();) {
    const Utf8Step step = decode_utf8(bytes, at);
    if (step.valid) {
      out.append(bytes.substr(at, step.size));
    } else {
      append_utf8(out, replacement_character);
    }
    at += step.size;
  }
  return out;
}

std::string shown(std::string_view text) {
  constexpr size_t limit = 120;
  constexpr char hex[] = "0123456789abcdef";
  std::string out;
  while (!text.empty() && out.size() < limit) {
    const Utf8Step step = decode_utf8(text, 0);
    const unsigned char first = static_cast<unsigned char>(text[0]);
    if (!step.valid || first < 0x20 || first == 0x7F) {
      out += "\\x";
      out += hex[first >> 4];
      out += hex[first & 15];
    } else {
      out += text.substr(0, step.size);
    }
    text.remove_prefix(step.valid ? step.size : 1);
  }
  return text.empty() ? out : out + "...";
}

size_t incomplete_utf8_tail(std::string_view bytes) {
  for (size_t back = 1; back <= 3 && back <= bytes.size(); back++) {
    const auto byte = static_cast<uint8_t>(bytes[bytes.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;
    const Utf8Step step = decode_utf8(bytes, bytes.size() - back);
    return step.truncated && step.size == back ? back : 0;
  }
  return 0;
}

}  // namespace codecllm
