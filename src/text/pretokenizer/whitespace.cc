// SPDX-License-Identifier: Apache-2.0
#include "text/pattern.h"
#include "text/pretokenizer/pretokenizer.h"

namespace codecllm::text {

// Words and runs of punctuation; the whitespace between them goes.
PreTokenizer whitespace_pretokenizer(const ComponentSource&) {
  Finder finder = [pattern = Pattern::regex(R"(\w+|[^\w\s]+)")](std::string_view text,
                                                                std::vector<Match>& matches) {
    pattern.find_all(text, matches);
  };
  return [finder](Pieces& pieces, size_t) { split_pieces(pieces, finder, SplitBehavior::removed, true); };
}

PreTokenizer whitespace_split_pretokenizer(const ComponentSource&) {
  return [finder = find_characters(&is_whitespace)](Pieces& pieces, size_t) {
    split_pieces(pieces, finder, SplitBehavior::removed);
  };
}

}  // namespace codecllm::text
