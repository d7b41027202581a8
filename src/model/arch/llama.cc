// SPDX-License-Identifier: Apache-2.0
// Llama 1, 2, 3 and the families that share its tensors: x += o(attention(norm x)); x += down(silu(gate h) * up h).
#include <cmath>

#include "model/arch/family.h"
#include "model/arch/rope_config.h"

namespace codecllm::family {

ModelSpec llama(const Json& config, const std::string& file) {
  ModelSpec spec;
  spec.hidden = json_need<int64_t>(config, "hidden_size", file);
  spec.intermediate = json_need<int64_t>(config, "intermediate_size", file);
  spec.layers = json_need<int64_t>(config, "num_hidden_layers", file);
  spec.heads = json_need<int64_t>(config, "num_attention_heads", file);
  spec.kv_heads = json_or<int64_t>(config, "num_key_value_heads", spec.heads, file);
  spec.head_dim = json_or<int64_t>(config, "head_dim", spec.heads > 0 ? spec.hidden / spec.heads : 0, file);
  spec.vocab = json_need<int64_t>(config, "vocab_size", file);
  spec.max_positions = json_or<int64_t>(config, "max_position_embeddings", 2048, file);
  spec.norm_eps = json_or<float>(config, "rms_norm_eps", 1e-6f, file);
  spec.tied_head = json_or<bool>(config, "tie_word_embeddings", false, file);
  spec.qkv_bias = spec.o_bias = json_or<bool>(config, "attention_bias", false, file);
  spec.mlp_bias = json_or<bool>(config, "mlp_bias", false, file);
  spec.rope = read_rope(config, spec.head_dim, spec.max_positions, file);
  const auto activation = json_or<std::string>(config, "hidden_act", "silu", file);
  if (activation != "silu" && activation != "swish")
    throw Error(ErrorCode::unsupported, "config", "hidden_act '" + activation + "', expected silu", {.file = file});
  return spec;
}

}  // namespace codecllm::family
