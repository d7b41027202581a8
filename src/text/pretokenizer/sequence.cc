// SPDX-License-Identifier: Apache-2.0
#include "text/pattern.h"
#include "text/pretokenizer/pretokenizer.h"

namespace codecllm::text {

PreTokenizer sequence_pretokenizer(const ComponentSource& source) {
  return [members = load_members(source, "pretokenizers", &load_pretokenizer)](Pieces& pieces, size_t limit) {
    for (const PreTokenizer& member : members) {
      member(pieces, limit);
      size_t size = 0;
      for (const Piece& piece : pieces) size += piece.text.size();
      if (size > limit) fail_growth();
    }
  };
}

}  // namespace codecllm::text
