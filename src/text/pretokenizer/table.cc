// SPDX-License-Identifier: Apache-2.0
#include "text/pretokenizer/pretokenizer.h"

namespace codecllm::text {

static constexpr ComponentRow<PreTokenizer> pretokenizer_rows[] = {
#define PRETOKENIZER(type, load) {type, load},
#include "text/pretokenizer/pretokenizers.def"
#undef PRETOKENIZER
};

PreTokenizer load_pretokenizer(const ComponentSource& source) {
  return load_component<PreTokenizer>(pretokenizer_rows, source);
}

}  // namespace codecllm::text
