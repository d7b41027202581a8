// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"
#include "text/pretokenizer/pretokenizer.h"

namespace codecllm::text {

namespace {

struct Part {
  size_t begin, end;
  bool is_match;
};

// Matches and the gaps between them, in order; empty gaps are left out.
void to_parts(size_t size, const std::vector<Match>& matches, bool invert, std::vector<Part>& parts) {
  parts.clear();
  size_t at = 0;
  for (const Match& match : matches) {
    if (at < match.begin) parts.push_back({at, match.begin, invert});
    parts.push_back({match.begin, match.end, !invert});
    at = match.end;
  }
  if (at < size) parts.push_back({at, size, invert});
}

// Joins parts in place, as the behaviour says. A match joins only one neighbour: of two matches in a row, the
// one further from the neighbour stays alone.
void join_parts(std::vector<Part>& parts, SplitBehavior behavior) {
  size_t kept = 0;
  bool after_match = false;
  for (const Part part : parts) {
    bool join = false;
    if (kept > 0) {
      if (behavior == SplitBehavior::contiguous) join = part.is_match == parts[kept - 1].is_match;
      if (behavior == SplitBehavior::merged_with_previous) join = part.is_match && !after_match;
      if (behavior == SplitBehavior::merged_with_next) join = !part.is_match && after_match;
    }
    after_match = part.is_match;
    if (behavior == SplitBehavior::removed && part.is_match) continue;
    if (join) {
      parts[kept - 1].end = part.end;
    } else {
      parts[kept++] = part;
    }
  }
  parts.resize(kept);
}

}  // namespace

SplitBehavior load_behavior(const ComponentSource& source, const char* fallback) {
  const std::string name = json_or<std::string>(source.json, "behavior", fallback, source.file);
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  fail_component(source, "behavior '" + name + "' is unknown", ErrorCode::bad_input);
}

void split_pieces(Pieces& pieces, const Finder& finder, SplitBehavior behavior, bool invert) {
  Pieces out;
  out.reserve(pieces.size());
  std::vector<Match> matches;
  std::vector<Part> parts;
  for (Piece& piece : pieces) {
    finder(piece.text, matches);
    to_parts(piece.text.size(), matches, invert, parts);
    join_parts(parts, behavior);
    for (const Part& part : parts) {
      if (part.begin == part.end) continue;
      out.push_back(
          {piece.text.substr(part.begin, part.end - part.begin), piece.at_start && part.begin == 0});
    }
  }
  pieces = std::move(out);
}

Finder find_characters(bool (*in_class)(char32_t)) {
  return [in_class](std::string_view text, std::vector<Match>& matches) {
    matches.clear();
    for_each_character(text, [&](char32_t code, size_t begin, size_t end) {
      if (in_class(code)) matches.push_back({begin, end});
    });
  };
}

}  // namespace codecllm::text
