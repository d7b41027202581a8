// SPDX-License-Identifier: Apache-2.0
#include "quant/algorithm.h"

#include <cmath>

#include "codecllm/error.h"
#include "quant/awq.h"
#include "quant/gptq_rate.h"
#include "quant/smoothquant.h"

namespace codecllm {

namespace {

std::vector<Grid> solve_gptq(const Context& context, const BlockInput&, LayerTask& task, const InputKnowledge& input,
                             const AlgorithmOptions& options) {
  const GptqOptions gptq_options = {.damping = options.damping, .act_order = options.act_order, .clip = options.clip};
  const auto n = static_cast<size_t>(task.linear.columns);
  double trace = 0;
  for (size_t j = 0; j < n; ++j) trace += static_cast<double>(input.gram[j * n + j]);
  if (!std::isfinite(trace))
    throw Error(ErrorCode::bad_input, "gptq", "what the layer reads is so large that its squares overflow; give this layer another algorithm in a recipe",
                {.tensor = task.linear.name});
  // Where nothing was seen, or so little that its squares are hardly numbers, all inputs are taken to be alike: rounding to nearest.
  std::vector<float> alike;
  if (!(trace > 1e-30 * static_cast<double>(n))) {
    alike.resize(n * n);
    for (size_t j = 0; j < n; ++j) alike[j * n + j] = 1;
  }
  const std::vector<float>& gram = alike.empty() ? input.gram : alike;
  return task.coded_bits > 0 ? gptq_rate(context, task, gram, gptq_options) : gptq(context, task, gram, gptq_options);
}

std::vector<float> smooth_awq(const Context& context, const BlockInput& value, const std::vector<LayerTask>& readers,
                              const InputKnowledge& input, const AlgorithmOptions&) {
  std::vector<float> factors = awq_scales(context, readers, input.channel_mean, input.gram);
  if (value.shared_heads == 1) return factors;
  // Channels that come from one row of the producer share its factor: their geometric mean.
  std::vector<float> shared(static_cast<size_t>(value.columns / value.shared_heads), 1.0f);
  for (int64_t c = 0; c < value.columns; ++c)
    shared[value.producer_row(c)] *= std::pow(factors[c], 1.0f / static_cast<float>(value.shared_heads));
  return shared;
}

std::vector<Grid> solve_awq(const Context& context, const BlockInput& value, LayerTask& task, const InputKnowledge& input,
                            const AlgorithmOptions&) {
  // Queries and keys meet in a product, where clipping costs more than their own output error tells.
  const bool meets = value.tap == "attention_norm" && task.linear.name != value.readers.back().name;
  return meets ? std::vector<Grid>() : awq_clip(context, task, input.gram);
}

std::vector<float> smooth_smoothquant(const Context&, const BlockInput&, const std::vector<LayerTask>& readers,
                                      const InputKnowledge& input, const AlgorithmOptions& options) {
  return smoothquant_scales(readers, input.channel_amax, options.alpha);
}

const Algorithm kAlgorithms[] = {
#define ALGORITHM(name, statistics, sees_quantized, norms_only, smooth, solve, parameters) \
  {name, statistics, sees_quantized, norms_only, smooth, solve, parameters},
#include "quant/algorithm.def"
#undef ALGORITHM
};

const Algorithm& single(std::string_view name) {
  std::string list;
  for (const Algorithm& algorithm : kAlgorithms) {
    if (name == algorithm.name) return algorithm;
    list += (list.empty() ? "" : ", ") + algorithm.name;
  }
  throw Error(ErrorCode::bad_call, "quantize", "no algorithm '" + std::string(name) + "'; there are: " + list +
                                                   ", and smoothquant+gptq and the like");
}

}  // namespace

Algorithm algorithm_named(const std::string& name) {
  const size_t plus = name.find('+');
  const Algorithm& first = single(std::string_view(name).substr(0, plus));
  if (plus == std::string::npos) return first;
  const Algorithm& second = single(std::string_view(name).substr(plus + 1));
  if (first.smooth == nullptr || second.smooth != nullptr || second.solve == nullptr)
    throw Error(ErrorCode::bad_call, "quantize", "'" + name + "': of two algorithms the first must smooth (awq, smoothquant) and the second only find the codes (gptq)");
  return {name, first.statistics | second.statistics, first.sees_quantized || second.sees_quantized, first.norms_only, first.smooth, second.solve,
          first.parameters + " " + second.parameters};
}

Algorithm find_algorithm(const AlgorithmOptions& options) {
  Algorithm algorithm = algorithm_named(options.name);
  if (algorithm.calibrates() && options.calibration.text.empty())
    throw Error(ErrorCode::bad_call, "quantize", options.name + " needs a calibration text; give one with --calibrate");
  return algorithm;
}

std::string without_smoothing(const std::string& name) {
  if (const size_t plus = name.find('+'); plus != std::string::npos) return name.substr(plus + 1);
  return single(name).solve == nullptr ? "rtn" : name;
}

}  // namespace codecllm
