// SPDX-License-Identifier: Apache-2.0
#include "text/pretokenizer/pretokenizer.h"

namespace codecllm::text {

PreTokenizer punctuation_pretokenizer(const ComponentSource& source) {
  return [finder = find_characters(&is_punctuation), behavior = load_behavior(source, "Isolated")](
             Pieces& pieces, size_t) { split_pieces(pieces, finder, behavior); };
}

}  // namespace codecllm::text
