// SPDX-License-Identifier: Apache-2.0
#include "quant/smoothing_plan.h"

#include <algorithm>
#include <map>
#include <set>

namespace codecllm {

bool is_smoothed(const BlockInput& input, AlgorithmOf algorithm_of) {
  const AlgorithmOptions* first = algorithm_of(input.readers.front().name);
  if (first == nullptr) return false;
  const Algorithm algorithm = find_algorithm(*first);
  if (algorithm.smooth == nullptr || (algorithm.norms_only && input.norm.empty())) return false;
  const auto alike = [&](const std::string& module) {
    const AlgorithmOptions* other = algorithm_of(module);
    return other != nullptr && other->alpha == first->alpha && find_algorithm(*other).smooth == algorithm.smooth;
  };
  return (!input.norm.empty() || alike(input.producer)) &&
         std::all_of(input.readers.begin(), input.readers.end(), [&](const LinearSpec& reader) { return alike(reader.name); });
}

std::vector<Unsmoothed> unsmoothed_layers(const ModelSpec& spec, AlgorithmOf algorithm_of) {
  std::set<const AlgorithmOptions*> at_work;  // those that smooth something
  std::map<std::string, bool> behind_norm;    // of the layers that have no part in it
  for (int64_t layer = 0; layer < spec.layers; ++layer)
    for (const BlockInput& input : block_inputs(spec, layer)) {
      const bool smoothed = is_smoothed(input, algorithm_of);
      for (const LinearSpec& reader : input.readers) {
        if (smoothed) at_work.insert(algorithm_of(reader.name));
        if (!smoothed) behind_norm[reader.name] = !input.norm.empty();
      }
    }
  std::vector<Unsmoothed> list;
  for (const LinearSpec& linear : spec.linears()) {
    const AlgorithmOptions* options = algorithm_of(linear.name);
    const auto place = behind_norm.find(linear.name);
    const bool in_block = linear.kind != LinearKind::lm_head;
    if (options == nullptr || (in_block && place == behind_norm.end())) continue;
    const Algorithm algorithm = find_algorithm(*options);
    if (algorithm.smooth == nullptr) continue;
    Unsmoothed layer = {.module = linear.name, .what = options->name + " does not smooth here, since ", .remedy = ""};
    if (!in_block) {
      layer.what += "it looks at decoder blocks alone";
      layer.remedy = "leave the layer out (--ignore) or give it another algorithm (--recipe)";
    } else if (!algorithm.norms_only || place->second) {
      layer.what += "scale moves only where all layers that read a value, and the linear layer that makes it, are quantized by one algorithm";
      layer.remedy = "take q, k and v together, gate and up, v with o, and up with down, or another algorithm";
    } else if (!at_work.contains(options)) {
      layer.what += "it moves scale out of norms alone, into q, k, v, gate and up";
      layer.remedy = "take these layers as well, or another algorithm";
    } else {
      layer.what.clear();
    }
    list.push_back(std::move(layer));
  }
  return list;
}

}  // namespace codecllm
