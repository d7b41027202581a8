// SPDX-License-Identifier: Apache-2.0
#include "text/normalizer/normalizer.h"

namespace codecllm::text {

Normalizer sequence_normalizer(const ComponentSource& source) {
  return [members = load_members(source, "normalizers", &load_normalizer)](Piece& piece, size_t limit) {
    for (const Normalizer& member : members) member(piece, limit);
  };
}

}  // namespace codecllm::text
