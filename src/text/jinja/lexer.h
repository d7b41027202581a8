// SPDX-License-Identifier: Apache-2.0
// Cuts a template into text and the tokens of its tags, with the whitespace rules that transformers sets:
// trim_blocks (a newline after a block tag goes) and lstrip_blocks (blanks before a block tag alone on its
// line go).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace codecllm::jinja {

struct Token {
  enum class Kind {
    text,         // outside of tags
    block_begin,  // {%
    block_end,
    print_begin,  // {{
    print_end,
    name,
    string,  // text holds the value
    integer,
    number,
    sign,  // operators and brackets
    end,
  };
  Kind kind;
  std::string text;
  int line;

  bool is(Kind k, std::string_view t) const { return kind == k && text == t; }
};

// Throws Error(bad_input) with the line. The last token is an end.
std::vector<Token> lex(std::string_view source);

[[noreturn]] void fail_at(int line, const std::string& what);

}  // namespace codecllm::jinja
