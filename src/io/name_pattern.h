// SPDX-License-Identifier: Apache-2.0
// One entry of `targets` or `ignore` in a quantization config.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace codecllm {

class NamePattern {
 public:
  // How well an entry fits a linear module, best last.
  enum class Match { none, class_name, regex, exact };

  // "re:X" is a regular expression that must match at the start of a name, "Linear" every linear module,
  // anything else one module's name. Throws Error(bad_input) for an expression that is none. `file` is for
  // messages only.
  NamePattern(std::string text, std::string file);

  const std::string& text() const { return text_; }

  // Throws Error(bad_input) where the expression takes absurdly long on this name.
  Match match(std::string_view module_name) const;

 private:
  struct Regex;
  std::string text_, file_;
  std::shared_ptr<const Regex> regex_;
};

}  // namespace codecllm
