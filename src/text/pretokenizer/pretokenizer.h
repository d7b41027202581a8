// SPDX-License-Identifier: Apache-2.0
// The loaders that pretokenizers.def names, and the splitting they share.
#pragma once

#include "text/component.h"
#include "text/unicode.h"

namespace codecllm::text {

#define PRETOKENIZER(type, load) PreTokenizer load(const ComponentSource& source);
#include "text/pretokenizer/pretokenizers.def"
#undef PRETOKENIZER

// What becomes of a match and of the gap before it.
enum class SplitBehavior {
  isolated,              // matches and gaps are pieces
  removed,               // gaps are pieces
  merged_with_previous,  // a match ends the piece before it
  merged_with_next,      // a match begins the piece after it
  contiguous,            // neighbouring matches are one piece
};

SplitBehavior load_behavior(const ComponentSource& source, const char* fallback);

using Finder = std::function<void(std::string_view text, std::vector<Match>& matches)>;

// Cuts every piece; empty pieces vanish. `invert` takes the gaps for matches and the matches for gaps.
void split_pieces(Pieces& pieces, const Finder& finder, SplitBehavior behavior, bool invert = false);

// Every character of a class is a match by itself.
Finder find_characters(bool (*in_class)(char32_t));

}  // namespace codecllm::text
