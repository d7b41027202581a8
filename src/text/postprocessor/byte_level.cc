// SPDX-License-Identifier: Apache-2.0
#include "text/postprocessor/postprocessor.h"

namespace codecllm::text {

// Only moves offsets, which we do not keep.
PostProcessor byte_level_postprocessor(const ComponentSource&) {
  return [](std::vector<int32_t>&) {};
}

}  // namespace codecllm::text
