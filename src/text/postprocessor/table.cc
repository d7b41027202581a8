// SPDX-License-Identifier: Apache-2.0
#include "text/postprocessor/postprocessor.h"

namespace codecllm::text {

static constexpr ComponentRow<PostProcessor> postprocessor_rows[] = {
#define POSTPROCESSOR(type, load) {type, load},
#include "text/postprocessor/postprocessors.def"
#undef POSTPROCESSOR
};

PostProcessor load_postprocessor(const ComponentSource& source) {
  return load_component<PostProcessor>(postprocessor_rows, source);
}

}  // namespace codecllm::text
