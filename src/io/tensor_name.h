// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace codecllm {

// "model.layers.0.mlp.up_proj.weight" is part ".weight" of module "model.layers.0.mlp.up_proj"; a name without a dot is all
// part.
struct TensorName {
  std::string_view module, part;
};

inline TensorName split_tensor_name(std::string_view name) {
  const size_t dot = name.rfind('.');
  const size_t length = dot == std::string_view::npos ? 0 : dot;
  return {name.substr(0, length), name.substr(length)};
}

// Scales of an 8-bit KV cache, under the names that compressed-tensors, AutoFP8, llm-compressor and ModelOpt gave them.
inline bool is_kv_scale(std::string_view name) {
  for (const std::string_view part : {".k_scale", ".v_scale", ".kv_scale", ".k_proj.output_scale", ".v_proj.output_scale"})
    if (name.ends_with(part)) return true;
  return false;
}

}  // namespace codecllm
