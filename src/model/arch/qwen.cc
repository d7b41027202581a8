// SPDX-License-Identifier: Apache-2.0
// Qwen2 and 2.5: Llama with biases on q, k and v. Qwen3: none, but a norm over each head of q and k.
#include "model/arch/family.h"

namespace codecllm::family {

static ModelSpec qwen(const Json& config, const std::string& file) {
  ModelSpec spec = llama(config, file);
  if (json_or<bool>(config, "use_sliding_window", false, file)) {
    spec.sliding_window = json_or<int64_t>(config, "sliding_window", 4096, file);
    spec.first_window_layer = json_or<int64_t>(config, "max_window_layers", spec.layers, file);
  }
  // Newer configs say it again, layer by layer.
  if (const auto types = config.find("layer_types"); types != config.end() && types->is_array())
    for (int64_t i = 0; i < static_cast<int64_t>(types->size()); ++i)
      if (((*types)[static_cast<size_t>(i)] == "sliding_attention") != (spec.sliding_window > 0 && i >= spec.first_window_layer))
        throw Error(ErrorCode::unsupported, "config", "layer_types is not what use_sliding_window and max_window_layers say, which is not in this version",
                    {.file = file});
  return spec;
}

ModelSpec qwen2(const Json& config, const std::string& file) {
  ModelSpec spec = qwen(config, file);
  spec.qkv_bias = true;
  spec.o_bias = false;
  return spec;
}

ModelSpec qwen3(const Json& config, const std::string& file) {
  ModelSpec spec = qwen(config, file);
  spec.head_dim = json_or<int64_t>(config, "head_dim", 128, file);
  spec.rope.rotary = spec.head_dim;
  spec.qk_norm = true;
  return spec;
}

}  // namespace codecllm::family
