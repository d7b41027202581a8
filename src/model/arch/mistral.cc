// SPDX-License-Identifier: Apache-2.0
// Mistral: Llama with a sliding window in v0.1 (null in later versions).
#include "model/arch/family.h"

namespace codecllm::family {

ModelSpec mistral(const Json& config, const std::string& file) {
  ModelSpec spec = llama(config, file);
  spec.sliding_window = json_or<int64_t>(config, "sliding_window", 0, file);
  return spec;
}

}  // namespace codecllm::family
