// SPDX-License-Identifier: Apache-2.0
// GPTQ, AWQ and SmoothQuant against NumPy (tools/dump_algorithms.py), and their effect on a layer's output.
#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "quant/awq.h"
#include "quant/gptq.h"
#include "quant/smoothquant.h"
#include "quant/statistics.h"
#include "quant/support.h"

namespace codecllm {
namespace {

struct LayerProblem {
  LayerTask task;
  std::vector<float> gram, channel_mean, channel_amax;
  Json json;
};

std::vector<LayerProblem> problems() {
  std::vector<LayerProblem> list;
  const Json json = read_json_file(test::source_path("tests/quant/data/algorithms.json"));
  for (const Json& c : json.at("cases")) {
    LayerProblem p;
    const int64_t rows = c.at("rows"), columns = c.at("columns"), samples = c.at("samples");
    p.task.linear = {"layer", LinearKind::mlp, rows, columns, false, -1};
    p.task.args = {.num_bits = c.at("bits"), .strategy = Strategy::group, .group_size = c.at("group")};
    p.task.scale_type = DType::f32;
    p.task.weights = c.at("weights").get<std::vector<float>>();
    const auto inputs = c.at("inputs").get<std::vector<float>>();
    InputStatistics statistics(test::two_threads(), columns, kChannelStatistics | kGramStatistics);
    statistics.add(inputs.data(), samples, columns, "layer");
    p.channel_mean = statistics.channel_mean();
    p.channel_amax = statistics.channel_amax();
    p.gram = statistics.take_gram();
    p.json = c;
    list.push_back(std::move(p));
  }
  return list;
}

double relative_difference(const std::vector<float>& got, const std::vector<float>& expected) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference = std::max(difference, std::fabs(static_cast<double>(got[i]) - expected[i]));
    size = std::max(size, std::fabs(static_cast<double>(expected[i])));
  }
  return difference / size;
}

double error_of_layer(const LayerTask& task, const std::vector<float>& original, const std::vector<float>& gram) {
  std::vector<float> error = task.weights;
  for (size_t i = 0; i < error.size(); ++i) error[i] -= original[i];
  return output_error(test::two_threads(), error, task.linear.rows, gram, task.linear.columns);
}

TEST(Gptq, EqualsColumnByColumnElimination) {
  for (LayerProblem& p : problems())
    for (const bool act_order : {false, true}) {
      LayerTask task = p.task;
      gptq(test::two_threads(), task, p.gram, {.act_order = act_order});
      const auto expected = p.json.at(act_order ? "gptq_act_order" : "gptq").get<std::vector<float>>();
      // Codes are the same; scales found after updates differ by the rounding of sums in another order.
      EXPECT_LT(relative_difference(task.weights, expected), 1e-5) << p.task.linear.columns << act_order;
    }
}

TEST(Gptq, WeightsLieOnTheReturnedGrids) {
  for (const bool symmetric : {true, false})
    for (const bool act_order : {false, true}) {
      LayerTask task = problems()[1].task;
      task.args.symmetric = symmetric;
      const std::vector<Grid> grids = gptq(test::two_threads(), task, problems()[1].gram, {.act_order = act_order});
      const std::vector<float> again = round_layer(test::two_threads(), task, grids);
      EXPECT_EQ(again, task.weights);
    }
}

TEST(Gptq, KeptColumnsAreAsIfTheyWereNotThere) {
  LayerProblem p = problems()[1];
  const int64_t n = p.task.linear.columns;
  p.task.args = {.num_bits = 4, .strategy = Strategy::channel};
  p.task.kept = {0, 5, 6, static_cast<int32_t>(n - 1)};
  LayerTask fewer = p.task;
  fewer.kept.clear();
  fewer.weights.clear();
  fewer.linear.columns = n - static_cast<int64_t>(p.task.kept.size());
  const auto is_kept = [&](int64_t column) { return std::binary_search(p.task.kept.begin(), p.task.kept.end(), column); };
  std::vector<float> gram;
  for (int64_t row = 0; row < p.task.linear.rows; ++row)
    for (int64_t k = 0; k < n; ++k) is_kept(k) ? void(p.task.weights[row * n + k] = 0) : fewer.weights.push_back(p.task.weights[row * n + k]);
  for (int64_t i = 0; i < n * n; ++i)
    if (!is_kept(i / n) && !is_kept(i % n)) gram.push_back(p.gram[i]);
  for (const bool act_order : {false, true}) {
    LayerTask all = p.task, some = fewer;
    // Damping is a share of the mean of all columns, so there is hardly any.
    gptq(test::two_threads(), all, p.gram, {.damping = 1e-9, .act_order = act_order});
    gptq(test::two_threads(), some, gram, {.damping = 1e-9, .act_order = act_order});
    std::vector<float> left;
    for (size_t i = 0; i < all.weights.size(); ++i) {
      const auto column = static_cast<int64_t>(i) % n;
      if (!is_kept(column))
        left.push_back(all.weights[i]);
      else
        EXPECT_EQ(all.weights[i], 0);
    }
    EXPECT_EQ(left, some.weights) << act_order;
  }
}

TEST(Gptq, OutputErrorIsBelowThatOfRounding) {
  for (LayerProblem& p : problems()) {
    LayerTask rounded = p.task;
    rounded.weights = round_layer(test::two_threads(), p.task, fit_grids(test::two_threads(), p.task, false));
    const double rtn = error_of_layer(rounded, p.task.weights, p.gram);
    for (const bool act_order : {false, true}) {
      LayerTask task = p.task;
      gptq(test::two_threads(), task, p.gram, {.act_order = act_order});
      EXPECT_LT(error_of_layer(task, p.task.weights, p.gram), 0.8 * rtn);
    }
  }
}

TEST(Gptq, AnInputNeverSeenGetsNoWeight) {
  LayerProblem p = std::move(problems()[0]);
  const int64_t n = p.task.linear.columns;
  std::vector<float> gram = p.gram;
  for (int64_t i = 0; i < n; ++i) gram[5 * n + i] = gram[i * n + 5] = 0;
  LayerTask task = p.task;
  gptq(test::two_threads(), task, gram);
  for (int64_t r = 0; r < task.linear.rows; ++r) EXPECT_EQ(task.weights[r * n + 5], 0);
}

TEST(Awq, FindsTheFactorsOfTheFormula) {
  for (const LayerProblem& p : problems()) {
    const std::vector<float> got = awq_scales(test::two_threads(), {p.task}, p.channel_mean, p.gram);
    EXPECT_LT(relative_difference(got, p.json.at("awq").get<std::vector<float>>()), 1e-5);
    LayerTask scaled = p.task;
    const auto n = static_cast<size_t>(p.task.linear.columns);
    for (size_t i = 0; i < scaled.weights.size(); ++i) scaled.weights[i] *= got[i % n];
    scaled.weights = round_layer(test::two_threads(), scaled, fit_grids(test::two_threads(), scaled, false));
    for (size_t i = 0; i < scaled.weights.size(); ++i) scaled.weights[i] /= got[i % n];
    const double loss = error_of_layer(scaled, p.task.weights, p.gram);
    EXPECT_NEAR(loss, p.json.at("awq_loss").get<double>(), 1e-4 * loss);
    LayerTask rounded = p.task;
    rounded.weights = round_layer(test::two_threads(), p.task, fit_grids(test::two_threads(), p.task, false));
    EXPECT_LE(loss, error_of_layer(rounded, p.task.weights, p.gram) * (1 + 1e-6));
  }
}

// Each row's error over its own group, by brute force.
TEST(Awq, ClippingNeverRaisesTheOutputErrorOfAGroup) {
  for (const LayerProblem& p : problems()) {
    const int64_t n = p.task.linear.columns, group = p.task.args.group_size;
    const auto plain = round_layer(test::two_threads(), p.task, fit_grids(test::two_threads(), p.task, false));
    const auto clipped = round_layer(test::two_threads(), p.task, awq_clip(test::two_threads(), p.task, p.gram));
    const auto loss = [&](const std::vector<float>& w, int64_t r, int64_t g) {
      double sum = 0;
      for (int64_t i = g; i < std::min(n, g + group); ++i)
        for (int64_t j = g; j < std::min(n, g + group); ++j)
          sum += static_cast<double>(p.gram[i * n + j]) * (w[r * n + i] - p.task.weights[r * n + i]) *
                 (w[r * n + j] - p.task.weights[r * n + j]);
      return sum;
    };
    bool better = false;
    for (int64_t r = 0; r < p.task.linear.rows; ++r)
      for (int64_t g = 0; g < n; g += group) {
        EXPECT_LE(loss(clipped, r, g), loss(plain, r, g) * (1 + 1e-5));
        better = better || loss(clipped, r, g) < 0.95 * loss(plain, r, g);
      }
    EXPECT_TRUE(better || p.task.args.num_bits == 8);
  }
}

TEST(SmoothQuant, FactorsAreThoseOfTheFormula) {
  for (const LayerProblem& p : problems())
    for (const auto& [alpha, expected] : p.json.at("smoothquant").items())
      EXPECT_LT(relative_difference(smoothquant_scales({p.task}, p.channel_amax, std::stof(alpha)), expected.get<std::vector<float>>()), 1e-5);
}

TEST(MseClipping, LowersTheSquaredErrorOfHeavyTails) {
  Rng rng(9);
  LayerTask task = problems()[0].task;
  task.linear.rows = 8, task.linear.columns = 128;
  task.args = {.num_bits = 4, .strategy = Strategy::channel};
  task.weights.clear();
  for (int i = 0; i < 8 * 128; ++i) task.weights.push_back(static_cast<float>(std::pow(rng.normal(), 3)));
  const auto squared = [&](bool clip) {
    const auto rounded = round_layer(test::two_threads(), task, fit_grids(test::two_threads(), task, clip));
    double sum = 0;
    for (size_t i = 0; i < rounded.size(); ++i) sum += std::pow(static_cast<double>(rounded[i]) - task.weights[i], 2);
    return sum;
  };
  EXPECT_LT(squared(true), 0.95 * squared(false));
}

}  // namespace
}  // namespace codecllm
