// SPDX-License-Identifier: Apache-2.0
#include "model/weights.h"

#include "base/file.h"
#include "io/packed_tensors.h"

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
  ModelSpec spec = read_spec(checkpoint.config(), checkpoint.config_path(), file_exists(generation) ? read_json_file(generation) : Json());
  if (const TensorInfo* beyond = checkpoint.find(spec.block(spec.layers).input_norm + ".weight"))
    throw Error(ErrorCode::bad_input, "load", "config.json says " + std::to_string(spec.layers) + " layers, and the weights have more: the two are of different models",
                {.file = checkpoint.file_of(*beyond), .tensor = beyond->name});
  return spec;
}

void check_tensors(const ModelSpec& spec, const Checkpoint& checkpoint) {
  const auto is_coded = [&](const std::string& name) { return checkpoint.find(name + "_coded") != nullptr; };
  for (const PlainTensorSpec& tensor : spec.plain_tensors())
    if (!is_coded(tensor.name)) checkpoint.need(tensor.name);
  for (const LinearSpec& linear : spec.linears()) {
    if (linear.kind == LinearKind::lm_head && spec.tied_head) continue;
    const std::string name = linear.name + ".weight";
    if (!is_stored_quantized(checkpoint, linear.name) && !is_coded(name)) checkpoint.need(name);
  }
}

}  // namespace codecllm
