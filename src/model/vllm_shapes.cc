// SPDX-License-Identifier: Apache-2.0
#include "model/vllm_shapes.h"

namespace codecllm {

namespace {

constexpr int64_t kMarlinOutputs = 64, kMarlinInputs = 128;

bool is_marlins(const QuantizedLinear& layer) {
  return layer.scheme.weights->type == NumberType::integer && !layer.scheme.activations;
}

std::string block_problem(const QuantizedLinear& layer) {
  const LinearSpec& linear = layer.linear;
  const auto [high, wide] = layer.scheme.weights->block;
  const bool last = linear.name.ends_with("v_proj") || linear.name.ends_with("up_proj");
  if (linear.fused_group >= 0 && !last && linear.rows % high != 0)
    return std::to_string(linear.rows) + " outputs, which are not whole blocks of " + std::to_string(high);
  if (layer.scheme.activations && linear.columns % wide != 0)
    return std::to_string(linear.columns) + " inputs, which are not whole blocks of " + std::to_string(wide);
  return "";
}

}  // namespace

std::vector<ShapeProblem> shapes_for_vllm(const std::vector<QuantizedLinear>& layers) {
  std::vector<ShapeProblem> out;
  int count = 0;
  std::string example;
  for (const auto& layer : layers) {
    const LinearSpec& linear = layer.linear;
    if (!is_marlins(layer) || (linear.rows % kMarlinOutputs == 0 && linear.columns % kMarlinInputs == 0)) continue;
    if (++count == 1) example = linear.name + " is " + std::to_string(linear.rows) + " x " + std::to_string(linear.columns);
  }
  if (count > 0)
    out.push_back({std::to_string(count) + " quantized layers have shapes that vLLM's fast kernels do not take: " + example +
                       ", expected multiples of 64 x 128",
                   "leave these layers in 16 bits (--ignore) for vLLM; other engines, and this one, take them", false});
  for (const auto& layer : layers) {
    if (layer.scheme.weights->strategy != Strategy::block) continue;
    const std::string what = block_problem(layer);
    if (what.empty()) continue;
    out.push_back({layer.linear.name + " has " + what + "; vLLM will refuse it", "quantize with fp8-channel, which has no such rule", true});
    break;
  }
  return out;
}

}  // namespace codecllm
