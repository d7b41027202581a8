// SPDX-License-Identifier: Apache-2.0
#include "model/weights.h"

#include "base/file.h"

namespace codecllm {

size_t ModelWeights::bytes() const {
  size_t total = embedding.bytes() + lm_head.bytes() + final_norm.size() * 4;
  for (const BlockWeights& b : blocks) {
    for (const Linear* l : b.linears()) total += l->weight.bytes() + l->bias.size() * 4;
    for (const auto* norm : {&b.input_norm, &b.mlp_norm, &b.q_norm, &b.k_norm}) total += norm->size() * 4;
  }
  return total;
}

size_t DecoderModel::read_bytes_per_token() const {
  const size_t row = weights.embedding.bytes() / static_cast<size_t>(spec.vocab);
  return spec.tied_head ? weights.bytes() + row : weights.bytes() - weights.embedding.bytes() + row;
}

ModelSpec read_spec(const Checkpoint& checkpoint) {
  const std::string generation = checkpoint.directory() + "/generation_config.json";
  return read_spec(checkpoint.config(), checkpoint.config_path(),
                   file_exists(generation) ? read_json_file(generation) : Json());
}

}  // namespace codecllm
