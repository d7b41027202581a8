// SPDX-License-Identifier: Apache-2.0
#include "gen/gemm_sweep.h"

#include <algorithm>
#include <list>

#include "codecllm/error.h"
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

double mean_square(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  return sum / static_cast<double>(a.size());
}

}  // namespace

std::vector<TileTime> sweep_tiles(const Context& context, const GemmSize& size, const QuantScheme& scheme, bool a8, int rounds) {
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
  std::vector<TileTime> out;
  for (const Choice& c : choices) {
    out.push_back(c.result);
    out.back().seconds = median(c.times);
  }
  return out;
}

std::vector<BlockTime> sweep_block_size(const Context& context, const GemmSize& size, const QuantScheme& scheme, bool a8, int rounds) {
  if (!scheme.weights || scheme.name.find("coded") != std::string::npos)
    throw Error(ErrorCode::bad_call, "bench", "scheme '" + scheme.name + "' has no scales in blocks; give one such as int8 or fp8-block");
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
  std::vector<BlockTime> out;
  for (const Choice& c : choices) {
    out.push_back(c.result);
    out.back().seconds = median(c.times);
  }
  return out;
}

}  // namespace codecllm
