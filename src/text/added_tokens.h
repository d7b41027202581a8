// SPDX-License-Identifier: Apache-2.0
// Added tokens are cut out of the text before anything else looks at it: leftmost first, then longest.
#pragma once

#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/component.h"
#include "text/vocabulary.h"

namespace codecllm::text {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;             // not where a letter, digit or underscore touches it
  bool lstrip = false, rstrip = false;  // takes the whitespace before, after it along
  bool normalized = true;               // looked for in the normalized text, by its own normalized form
  bool special = false;
};

// The entries of "added_tokens"; they get their places in `vocabulary`.
std::vector<AddedToken> load_added_tokens(const Json& list, Vocabulary& vocabulary, const std::string& file);

// Finds one group of added tokens: those of the raw text, or those of the normalized text.
class AddedTokenFinder {
 public:
  struct Part {
    size_t begin, end;
    int32_t id;  // -1: text between added tokens
  };

  AddedTokenFinder() = default;
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);

  // Cuts `text`. With `parse_special` off, special tokens are left in the text.
  std::vector<Part> cut(std::string_view text, bool parse_special) const;


 private:
  const AddedToken* longest_at(std::string_view text, size_t at) const;

  std::vector<AddedToken> tokens_;  // by content
  std::bitset<256> first_bytes_;
};

}  // namespace codecllm::text
