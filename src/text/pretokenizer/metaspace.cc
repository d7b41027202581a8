// SPDX-License-Identifier: Apache-2.0
#include "text/metaspace.h"

#include "text/pattern.h"
#include "text/pretokenizer/pretokenizer.h"

namespace codecllm::text {

PreTokenizer metaspace_pretokenizer(const ComponentSource& source) {
  const Metaspace metaspace = load_metaspace(source);
  const bool split = json_or(source.json, "split", true, source.file);
  const Pattern space = Pattern::literal(" "), mark = Pattern::literal(metaspace.replacement);
  Finder finder = [mark](std::string_view text, std::vector<Match>& matches) {
    mark.find_all(text, matches);
  };
  return [=](Pieces& pieces, size_t limit) {
    for (Piece& piece : pieces) {
      piece.text = space.replace_all(piece.text, metaspace.replacement, limit);
      const bool wanted = metaspace.prepend == Metaspace::Prepend::always ||
                          (metaspace.prepend == Metaspace::Prepend::first && piece.at_start);
      if (wanted && !piece.text.empty() && !piece.text.starts_with(metaspace.replacement)) {
        piece.text.insert(0, metaspace.replacement);
      }
    }
    if (split) split_pieces(pieces, finder, SplitBehavior::merged_with_next);
  };
}

}  // namespace codecllm::text
