// SPDX-License-Identifier: Apache-2.0
#include "text/normalizer/normalizer.h"
#include "text/pattern.h"

namespace codecllm::text {

Normalizer prepend_normalizer(const ComponentSource& source) {
  return [text = json_need<std::string>(source.json, "prepend", source.file)](Piece& piece, size_t limit) {
    if (piece.text.empty()) return;
    if (piece.text.size() > limit) fail_growth();
    piece.text.insert(0, text);
  };
}

}  // namespace codecllm::text
