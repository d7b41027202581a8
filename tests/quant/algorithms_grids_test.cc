// SPDX-License-Identifier: Apache-2.0
// Every kind of grid against NumPy (tools/dump_algorithms.py): symmetric and with zero points, per group, channel, tensor and
// block, with and without clipping; by rounding, GPTQ (rows of several lazy batches) and AWQ.
#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "io/quant_args.h"
#include "quant/awq.h"
#include "quant/gptq.h"
#include "quant/statistics.h"
#include "quant/support.h"

namespace codecllm {
namespace {

struct GridProblem {
  LayerTask task;
  std::vector<float> gram, channel_mean;
  Json json;
};

// The numbers of seeded_problem, in its order.
GridProblem seeded_problem(const Json& c) {
  GridProblem p;
  const int64_t rows = c.at("rows"), columns = c.at("columns"), samples = c.at("samples");
  p.json = c;
  p.task = {.linear = {"layer", LinearKind::mlp, rows, columns, false, -1}, .args = read_quant_args(c.at("args"), "case", "").args, .scale_type = DType::f32};
  Rng rng(c.at("seed"));
  const auto below = [&](uint64_t n) { return static_cast<int>(rng.below(n)); };
  for (int64_t i = 0; i < rows * columns; ++i) {
    const int small = below(129) - 48;
    p.task.weights.push_back(static_cast<float>(small * (below(16) == 0 ? 3 : 1)) / 64);
  }
  std::vector<int> sizes;
  for (int64_t i = 0; i < columns; ++i) sizes.push_back(1 << below(4));
  std::vector<float> inputs;
  for (int64_t i = 0; i < samples; ++i) {
    int state = 0;
    for (const int size : sizes) {
      state = below(33) - 16 + (state >> 1);
      inputs.push_back(static_cast<float>(state * size) / 32);
    }
  }
  InputStatistics statistics(test::two_threads(), columns, kChannelStatistics | kGramStatistics);
  statistics.add(inputs.data(), samples, columns, "layer");
  p.channel_mean = statistics.channel_mean();
  p.gram = statistics.take_gram();
  return p;
}

class AlgorithmGrids : public ::testing::TestWithParam<int> {
 protected:
  void expect_grids(const std::vector<Grid>& got, const Json& expected, float tolerance) const {
    const auto scales = expected.at("scales").get<std::vector<float>>();
    const auto zeros = expected.at("zeros").get<std::vector<int>>();
    ASSERT_EQ(got.size(), scales.size());
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_NEAR(got[i].scale, scales[i], tolerance * scales[i]) << i;
      EXPECT_EQ(got[i].zero, zeros[i]) << i;
    }
  }

  const GridProblem p_ = seeded_problem(
      read_json_file(test::source_path("tests/quant/data/algorithms.json")).at("grids").at(static_cast<size_t>(GetParam())));
};

TEST_P(AlgorithmGrids, CoverOrClipTheRangeOfTheirCells) {
  for (const bool clip : {false, true})
    expect_grids(fit_grids(test::two_threads(), p_.task, clip), p_.json.at(clip ? "clip" : "rtn"), 0);
}

TEST_P(AlgorithmGrids, GptqFindsTheCodesOfColumnByColumnElimination) {
  const int bits = p_.task.args.num_bits;
  for (const Json& expected : p_.json.at("gptq")) {
    LayerTask task = p_.task;
    const GptqOptions options = {.act_order = expected.at("act_order"), .clip = expected.at("clip")};
    const std::vector<Grid> grids = gptq(test::two_threads(), task, p_.gram, options);
    // Scales that are found after updates differ by the rounding of sums in another order.
    const bool late = task.args.strategy == Strategy::group && !options.act_order;
    expect_grids(grids, expected, late ? 1e-5f : 0);
    const GridMap map(task.args, task.linear.rows, task.linear.columns);
    std::string digits;
    for (int64_t r = 0; r < task.linear.rows; ++r)
      for (int64_t c = 0; c < task.linear.columns; ++c) {
        const Grid& grid = grids[map.index(r, c)];
        const auto code = std::lround(task.weights[r * task.linear.columns + c] / grid.scale) + grid.zero;
        digits += "0123456789abcdef"[code + (1 << (bits - 1))];
      }
    EXPECT_EQ(digits, expected.at("codes").get<std::string>()) << options.act_order << options.clip;
  }
}

TEST_P(AlgorithmGrids, AwqFindsTheFactorsOfTheFormula) {
  const std::vector<float> got = awq_scales(test::two_threads(), {p_.task}, p_.channel_mean, p_.gram);
  const auto expected = p_.json.at("awq").get<std::vector<float>>();
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-5 * expected[i]);
}

TEST_P(AlgorithmGrids, AwqClipsToTheSmallestOutputErrorOfACell) {
  // Cells of several rows are not clipped.
  const Json& expected = p_.json.contains("awq_clip") ? p_.json.at("awq_clip") : p_.json.at("rtn");
  expect_grids(awq_clip(test::two_threads(), p_.task, p_.gram), expected, 0);
}

INSTANTIATE_TEST_SUITE_P(, AlgorithmGrids, ::testing::Range(0, 8));

}  // namespace
}  // namespace codecllm
