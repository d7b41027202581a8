// SPDX-License-Identifier: Apache-2.0
#include "gen/gemm_sweep.h"

#include <algorithm>
#include <list>

#include "codecllm/error.h"
#include "format/coded_scheme.h"
#include "gen/gemm_parts.h"
#include "gen/measure.h"
#include "model/synthetic.h"

namespace codecllm {

namespace {

// Other scales: of `size` weights, 0 for a channel, -1 for the tensor.
struct Scales {
  int size;
  DType type;
};

QuantScheme with_scales(QuantScheme scheme, const Scales& scales) {
  const int size = scales.size;
  QuantArgs& weights = *scheme.weights;
  weights.scale_dtype = scales.type;
  const bool integer = weights.type == NumberType::integer;
  weights.strategy = size < 0 ? Strategy::tensor : size == 0 ? Strategy::channel : integer ? Strategy::group : Strategy::block;
  weights.group_size = size > 0 && integer ? size : 0;
  weights.block = size > 0 && !integer ? std::array{size, size} : std::array{0, 0};
  if (scheme.activations && !integer) {
    scheme.activations->strategy = size < 0 ? Strategy::tensor : size == 0 ? Strategy::token : Strategy::group;
    scheme.activations->group_size = std::max(size, 0);
  }
  return scheme;
}

// One product in turns with the scheme's codes and each of the scales; without blocks that do not divide a row.
ScaleSweep sweep_scales(const Context& context, const GemmSize& size, const QuantScheme& scheme, bool a8, int rounds,
                        const std::vector<Scales>& all) {
  check_scale_sweep(scheme);
  GemmProduct product(context, size);
  const std::vector<float> exact = product.run(synthetic_matrix(context, size.n, size.k, scheme_preset("f32")));
  struct Choice {
    ScaleTime result;
    GemmWeights weights;
    std::vector<double> times = {};
  };
  std::list<Choice> choices;
  for (const Scales& scales : all) {
    if (scales.size > 0 && size.k % scales.size != 0) continue;
    choices.push_back({{scales.size > 0 ? std::to_string(scales.size) : scales.size == 0 ? "channel" : "tensor", scales.type},
                       GemmWeights(context, size, with_scales(scheme, scales), a8)});
    Choice& choice = choices.back();
    choice.result.weight_bytes = static_cast<double>(choice.weights.first().bytes());
    choice.result.mse = mean_square(product.run(choice.weights.first()), exact);
  }
  for (int round = 0; round < rounds; ++round)
    for (Choice& c : choices) c.times.push_back(product.time(c.weights));
  ScaleSweep out = {.compute = choices.front().weights.compute()};
  for (const Choice& c : choices) {
    out.times.push_back(c.result);
    out.times.back().seconds = median(c.times);
  }
  return out;
}

}  // namespace

TileSweep sweep_tiles(const Context& context, const GemmSize& size, const QuantScheme& scheme, bool a8, int rounds) {
  GemmWeights weights(context, size, scheme, a8);
  const int64_t panels = weights.first().view().panels();
  struct Choice {
    TileTime result;
    GemmProduct product;
    std::vector<double> times = {};
  };
  std::list<Choice> choices;
  for (const int64_t rows : {12, 48, 192, 768, INT32_MAX}) {
    if (rows >= size.m && rows != INT32_MAX) continue;
    for (const int64_t task : {0, 2, 4, 8, 16, 32, 64})
      if (task <= panels) choices.push_back({{std::min(rows, size.m), task, 0}, GemmProduct(context, size, std::min(rows, size.m), task)});
  }
  for (int round = 0; round < rounds; ++round)
    for (Choice& c : choices) c.times.push_back(c.product.time(weights));
  TileSweep out = {.compute = weights.compute()};
  for (const Choice& c : choices) {
    out.times.push_back(c.result);
    out.times.back().seconds = median(c.times);
  }
  return out;
}

void check_scale_sweep(const QuantScheme& scheme) {
  if (!scheme.weights || coded_scheme(scheme.name))
    throw Error(ErrorCode::bad_call, "bench", "scheme '" + scheme.name + "' has no scales in blocks; give one such as int8 or fp8-block");
  if (scheme.activations && scheme.activations->outliers)
    throw Error(ErrorCode::bad_call, "bench", "scheme '" + scheme.name + "' takes outlier features out of rows that have one scale; give one such as w8a8");
}

ScaleSweep sweep_block_size(const Context& context, const GemmSize& size, const QuantScheme& scheme, bool a8, int rounds) {
  std::vector<Scales> choices;
  for (const int block : {64, 128, 256, 0, -1}) choices.push_back({block, DType::bf16});
  return sweep_scales(context, size, scheme, a8, rounds, choices);
}

ScaleSweep sweep_scale_layout(const Context& context, const GemmSize& size, const QuantScheme& scheme, bool a8, int rounds) {
  std::vector<Scales> choices;
  for (const int block : {128, 0})
    for (const DType type : {DType::f32, DType::bf16, DType::f16}) choices.push_back({block, type});
  return sweep_scales(context, size, scheme, a8, rounds, choices);
}

}  // namespace codecllm
