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

// The scheme with other scales: `size` weights, 0 for a channel, -1 for the tensor.
QuantScheme with_block(QuantScheme scheme, int size) {
  QuantArgs& weights = *scheme.weights;
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

void check_block_sweep(const QuantScheme& scheme) {
  if (!scheme.weights || coded_scheme(scheme.name))
    throw Error(ErrorCode::bad_call, "bench", "scheme '" + scheme.name + "' has no scales in blocks; give one such as int8 or fp8-block");
  if (scheme.activations && scheme.activations->outliers)
    throw Error(ErrorCode::bad_call, "bench", "scheme '" + scheme.name + "' takes outlier features out of rows that have one scale; give one such as w8a8");
}

BlockSweep sweep_block_size(const Context& context, const GemmSize& size, const QuantScheme& scheme, bool a8, int rounds) {
  check_block_sweep(scheme);
  GemmProduct product(context, size);
  const std::vector<float> exact = product.run(synthetic_matrix(context, size.n, size.k, scheme_preset("f32")));
  struct Choice {
    BlockTime result;
    GemmWeights weights;
    std::vector<double> times = {};
  };
  std::list<Choice> choices;
  for (const int block : {64, 128, 256, 0, -1}) {
    if (block > 0 && size.k % block != 0) continue;
    GemmWeights weights(context, size, with_block(scheme, block), a8);
    const auto bytes = static_cast<double>(weights.first().bytes());
    const double mse = mean_square(product.run(weights.first()), exact);
    choices.push_back({{block > 0 ? std::to_string(block) : block == 0 ? "channel" : "tensor", 0, bytes, mse}, std::move(weights)});
  }
  for (int round = 0; round < rounds; ++round)
    for (Choice& c : choices) c.times.push_back(product.time(c.weights));
  BlockSweep out = {.compute = choices.front().weights.compute()};
  for (const Choice& c : choices) {
    out.times.push_back(c.result);
    out.times.back().seconds = median(c.times);
  }
  return out;
}

}  // namespace codecllm
