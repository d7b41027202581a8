// SPDX-License-Identifier: Apache-2.0
#include "model/wiring.h"

#include <algorithm>

namespace codecllm {

std::vector<BlockInput> block_inputs(const ModelSpec& spec, int64_t layer) {
  const BlockNames names = spec.block(layer);
  const std::vector<LinearSpec> linears = spec.linears();
  const auto readers = [&](std::initializer_list<std::string> wanted) {
    std::vector<LinearSpec> found;
    for (const LinearSpec& linear : linears)
      if (std::find(wanted.begin(), wanted.end(), linear.name) != wanted.end()) found.push_back(linear);
    return found;
  };
  // Softmax weights mix rows of v, channel by channel; gate * up is linear in up.
  return {{.tap = "attention_norm", .columns = spec.hidden, .readers = readers({names.q, names.k, names.v}), .norm = names.input_norm},
          {.tap = "attention",
           .columns = spec.heads * spec.head_dim,
           .readers = readers({names.o}),
           .producer = names.v,
           .head_dim = spec.head_dim,
           .shared_heads = spec.heads / spec.kv_heads},
          {.tap = "mlp_norm", .columns = spec.hidden, .readers = readers({names.gate, names.up}), .norm = names.mlp_norm},
          {.tap = "act", .columns = spec.intermediate, .readers = readers({names.down}), .producer = names.up}};
}

}  // namespace codecllm
