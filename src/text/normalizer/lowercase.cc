// SPDX-License-Identifier: Apache-2.0
#include "text/normalizer/normalizer.h"
#include "text/unicode.h"

namespace codecllm::text {

Normalizer lowercase_normalizer(const ComponentSource&) {
  return [](Piece& piece, size_t) { piece.text = to_lower(piece.text); };
}

}  // namespace codecllm::text
