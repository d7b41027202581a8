// SPDX-License-Identifier: Apache-2.0
#include "model/weights.h"

#include "base/file.h"
#include "io/coded_tensors.h"
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
  const auto need = [&](const std::string& module, const char* suffix) {
    if (!is_stored_quantized(checkpoint, module) && checkpoint.find(module + kCodedSuffix) == nullptr) checkpoint.need(module + suffix);
  };
  for (const std::string& module : {spec.embedding, spec.final_norm}) need(module, ".weight");
  for (int64_t i = 0; i < spec.layers; ++i) {
    const BlockNames names = spec.block(i);
    for (const std::string& norm : {names.input_norm, names.mlp_norm}) need(norm, ".weight");
    if (spec.qk_norm)
      for (const std::string& norm : {names.q_norm, names.k_norm}) need(norm, ".weight");
  }
  for (const LinearSpec& linear : spec.linears()) {
    if (linear.kind == LinearKind::lm_head && spec.tied_head) continue;
    need(linear.name, ".weight");
    if (linear.bias) checkpoint.need(linear.name + ".bias");
  }
}

}  // namespace codecllm
