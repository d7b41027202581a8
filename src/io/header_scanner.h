// SPDX-License-Identifier: Apache-2.0
// The JSON of a safetensors header, read token by token: nothing is stored before the caller has looked at
// it, so a hostile header of 100 MB is refused at its first wrong byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/utf8.h"

namespace codecllm {

// A subset of JSON: objects, arrays, strings and whole numbers. Every method throws Error(bad_input) that
// tells the byte and the file.
class HeaderScanner {
 public:
  HeaderScanner(std::string_view text, const std::string& file) : text_(text), file_(file) {}

  // Skips white space and takes `token` if it is next.
  bool accept(char token);
  void expect(char token);

  // A string of at most `limit` bytes once decoded; escapes, surrogate pairs and UTF-8 are checked.
  std::string string(size_t limit);

  // A whole number from 0 to 2^53: no sign, fraction, exponent or leading zero.
  int64_t number();

  void expect_end();

  [[noreturn]] void fail(std::string_view what) const;

 private:
  void skip_space();
  unsigned char next();
  uint32_t hex4();
  void escape(std::string& out);

  std::string_view text_;
  const std::string& file_;
  size_t at_ = 0;
};

}  // namespace codecllm
