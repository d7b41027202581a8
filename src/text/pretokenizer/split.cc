// SPDX-License-Identifier: Apache-2.0
#include "text/pattern.h"
#include "text/pretokenizer/pretokenizer.h"

namespace codecllm::text {

PreTokenizer split_pretokenizer(const ComponentSource& source) {
  const bool invert = json_or(source.json, "invert", false, source.file);
  const SplitBehavior behavior = load_behavior(source, "Isolated");
  Finder finder = [pattern = Pattern::load(source)](std::string_view text, std::vector<Match>& matches) {
    pattern.find_all(text, matches);
  };
  return
      [finder, behavior, invert](Pieces& pieces, size_t) { split_pieces(pieces, finder, behavior, invert); };
}

}  // namespace codecllm::text
