// SPDX-License-Identifier: Apache-2.0
#include "text/pretokenizer/pretokenizer.h"

namespace codecllm::text {

PreTokenizer digits_pretokenizer(const ComponentSource& source) {
  const bool individual = json_or(source.json, "individual_digits", false, source.file);
  const auto behavior = individual ? SplitBehavior::isolated : SplitBehavior::contiguous;
  return [finder = find_characters(&is_numeric), behavior](Pieces& pieces, size_t) {
    split_pieces(pieces, finder, behavior);
  };
}

}  // namespace codecllm::text
