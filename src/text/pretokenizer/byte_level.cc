// SPDX-License-Identifier: Apache-2.0
#include "text/byte_level.h"

#include "text/pattern.h"
#include "text/pretokenizer/pretokenizer.h"

namespace codecllm::text {

PreTokenizer byte_level_pretokenizer(const ComponentSource& source) {
  const bool add_prefix_space = json_or(source.json, "add_prefix_space", true, source.file);
  const bool use_regex = json_or(source.json, "use_regex", true, source.file);
  Finder finder;
  if (use_regex) {
    finder = [pattern = Pattern::regex(gpt2_expression)](std::string_view text, std::vector<Match>& matches) {
      pattern.find_all(text, matches);
    };
  }
  return [add_prefix_space, finder](Pieces& pieces, size_t) {
    if (add_prefix_space) {
      for (Piece& piece : pieces) {
        if (!piece.text.empty() && !piece.text.starts_with(' ')) piece.text.insert(0, 1, ' ');
      }
    }
    if (finder) split_pieces(pieces, finder, SplitBehavior::isolated);
    for (Piece& piece : pieces) piece.text = bytes_to_characters(piece.text);
  };
}

}  // namespace codecllm::text
