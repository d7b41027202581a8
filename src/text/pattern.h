// SPDX-License-Identifier: Apache-2.0
// What Split and Replace look for: a literal text or a regular expression.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/component.h"
#include "text/unicode.h"

namespace codecllm::text {

class Pattern {
 public:
  // From {"String": "..."} or {"Regex": "..."} below `key` of the component.
  static Pattern load(const ComponentSource& source, const char* key = "pattern");
  static Pattern regex(std::string_view expression);
  static Pattern literal(std::string_view text);

  // From left to right, without overlap.
  void find_all(std::string_view text, std::vector<Match>& matches) const;

  // `text` with every match replaced. Throws Error(bad_input) when it would be longer than `limit`.
  std::string replace_all(std::string_view text, std::string_view content, size_t limit) const;

 private:
  std::string literal_;
  std::optional<Regex> regex_;
};

[[noreturn]] void fail_growth();

}  // namespace codecllm::text
