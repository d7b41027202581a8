// SPDX-License-Identifier: Apache-2.0
#include "text/postprocessor/postprocessor.h"

namespace codecllm::text {

PostProcessor sequence_postprocessor(const ComponentSource& source) {
  return [members = load_members(source, "processors", &load_postprocessor)](std::vector<int32_t>& ids) {
    for (const PostProcessor& member : members) member(ids);
  };
}

}  // namespace codecllm::text
