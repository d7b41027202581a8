// SPDX-License-Identifier: Apache-2.0
#include "text/normalizer/normalizer.h"
#include "text/pattern.h"

namespace codecllm::text {

Normalizer replace_normalizer(const ComponentSource& source) {
  return [pattern = Pattern::load(source),
          content = json_need<std::string>(source.json, "content", source.file)](Piece& piece, size_t limit) {
    piece.text = pattern.replace_all(piece.text, content, limit);
  };
}

}  // namespace codecllm::text
