// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"
#include "text/normalizer/normalizer.h"
#include "text/unicode.h"

namespace codecllm::text {

Normalizer strip_normalizer(const ComponentSource& source) {
  const bool left = json_or(source.json, "strip_left", true, source.file);
  const bool right = json_or(source.json, "strip_right", true, source.file);
  return [left, right](Piece& piece, size_t) {
    // All of a blank text goes, whichever side is stripped.
    size_t first = piece.text.size(), last = 0;
    for_each_character(piece.text, [&](char32_t code, size_t begin, size_t end) {
      if (is_whitespace(code)) return;
      first = std::min(first, begin);
      last = end;
    });
    if (last == 0) {
      if (left || right) piece.text.clear();
      return;
    }
    if (right) piece.text.resize(last);
    if (left && first > 0) {
      piece.text.erase(0, first);
      piece.at_start = false;
    }
  };
}

}  // namespace codecllm::text
