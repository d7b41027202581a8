// SPDX-License-Identifier: Apache-2.0
// The only place that knows ICU: character classes, normalization forms and regular expressions. All text is
// well-formed UTF-8, all offsets are bytes.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace codecllm::text {

bool is_whitespace(char32_t code);   // Unicode White_Space
bool is_numeric(char32_t code);      // categories Nd, Nl, No
bool is_letter(char32_t code);       // category L
bool is_punctuation(char32_t code);  // ASCII punctuation and category P
bool is_word(char32_t code);         // what \w means to a Unicode-aware regular expression

// Character by character, without looking at the neighbours (no final sigma).
std::string to_lower(std::string_view text);
std::string to_upper(std::string_view text);

enum class NormalForm { nfc, nfd, nfkc, nfkd };
std::string normalize(std::string_view text, NormalForm form);

struct Match {
  size_t begin, end;
};

// A compiled expression; threads may share it.
class Regex {
 public:
  // Throws Error(bad_input) naming `file` when the expression is not one ICU reads.
  Regex(std::string_view expression, const std::string& file);

  // All matches from left to right, without overlap; an empty match is reported unless it touches the one
  // before. Throws Error(bad_input) when the expression needs unreasonable time or memory for this text.
  void find_all(std::string_view text, std::vector<Match>& matches) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace codecllm::text
