// SPDX-License-Identifier: Apache-2.0
// Bits shared out over layers, and rounding that counts them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/rng.h"
#include "codec/encoder.h"
#include "codec/rate.h"
#include "model/weights.h"
#include "quant/awq.h"
#include "quant/gptq_rate.h"
#include "quant/quantize.h"
#include "quant/statistics.h"
#include "quant/support.h"

namespace codecllm {
namespace {

using test::TempDirectory;
using test::two_threads;

std::vector<PlannedRate> three_layers() {
  return {{.name = "a", .weights = 1000, .energy = 1}, {.name = "b", .weights = 4000, .energy = 0.25}, {.name = "c", .weights = 2000, .energy = 0.25, .sensitivity = 16}};
}

TEST(FillWater, GivesEveryLayerTheSameWeightedError) {
  std::vector<PlannedRate> layers = three_layers();
  fill_water(layers, 4 * 7000);
  // s v = 1, 1/4, 4: half a bit for each factor of two.
  EXPECT_NEAR(layers[0].bits - layers[1].bits, 1, 1.0 / 64);
  EXPECT_NEAR(layers[2].bits - layers[0].bits, 1, 1.0 / 64);
  double sum = 0;
  for (const PlannedRate& layer : layers) sum += layer.bits * static_cast<double>(layer.weights);
  EXPECT_LE(sum, 4 * 7000.0);
  EXPECT_GT(sum, (4 - 1.0 / 32) * 7000);
}

TEST(FillWater, StaysWithinWhatTheCodeReaches) {
  std::vector<PlannedRate> layers = three_layers();
  layers[1].energy = 1e-9;
  layers.push_back({.name = "zero", .weights = 500});
  fill_water(layers, 3 * 7500);
  EXPECT_EQ(layers[1].bits, 2);
  EXPECT_EQ(layers[3].bits, 2);
  EXPECT_THROW(fill_water(layers, 1.9 * 7500), Error);
}

TEST(RateTarget, SizeIsKeptAndNearlyUsed) {
  const TempDirectory dir;
  const std::string model = test::source_path("models/codecllm-stories");
  QuantizeOptions options = {.scheme = scheme_preset("coded-4"), .target = {.bits = {}, .bytes = 9'350'000}};
  options.selection.only = {"model.layers.0.*"};
  const QuantizeResult result = quantize_checkpoint(two_threads(), model, dir / "q", options);
  const uint64_t size = std::filesystem::file_size(dir / "q/model.safetensors");
  EXPECT_LE(size, 9'350'000u);
  EXPECT_GT(size, 9'310'000u);
  ASSERT_EQ(result.plan.size(), 7u);
  const Json config = read_json_file(dir / "q/config.json").at("quantization_config");
  for (const PlannedRate& layer : result.plan) EXPECT_EQ(config.at("rates").at(layer.name).get<double>(), layer.bits);
}

// Scales and the container's ends cost a tiny layer more than the rate leaves.
TEST(RateTarget, TinyLayersThatMissTheirRateAreTold) {
  const TempDirectory dir;
  QuantizeOptions options = {.scheme = scheme_preset("coded-4")};
  const std::string tiny = test::model_data("llama-bf16"), told = "more bits than asked for";
  EXPECT_NE(test::error_of([&] { quantize_checkpoint(two_threads(), tiny, dir / "refused", options); }).find(told), std::string::npos);
  options.force = true;
  const auto notes_of = [&](const std::string& model, const std::string& name) {
    const std::vector<std::string> notes = quantize_checkpoint(two_threads(), model, dir / name, options).notes;
    return std::ranges::count_if(notes, [&](const std::string& note) { return note.find(told) != std::string::npos; });
  };
  EXPECT_EQ(notes_of(tiny, "tiny"), 1);
  EXPECT_EQ(notes_of(test::source_path("models/codecllm-stories"), "whole"), 0);
}

// Without a text r = 1/2 log2(sqrt(v / n) / theta).
TEST(RateTarget, WithoutATextBitsGoBySizeAndEnergy) {
  const TempDirectory dir;
  const std::string model = test::source_path("models/codecllm-stories");
  QuantizeOptions options = {.scheme = scheme_preset("coded-4"), .target = {.bits = 4}};
  options.selection.only = {"model.layers.0.*"};
  const QuantizeResult result = quantize_checkpoint(two_threads(), model, dir / "q", options);
  ASSERT_EQ(result.plan.size(), 7u);
  const PlannedRate& first = result.plan.front();
  for (const PlannedRate& layer : result.plan) {
    const auto level = [](const PlannedRate& p) { return 0.25 * std::log2(p.energy / static_cast<double>(p.weights)); };
    EXPECT_NEAR(layer.bits - first.bits, level(layer) - level(first), 1.01 / 64) << layer.name;
  }
}

TEST(RateTarget, BitsAreTheSameOnEveryCallAndSpentWhereTheyCount) {
  if (test::kSanitized) GTEST_SKIP() << "layers of a whole model; other targets are kept below";
  const TempDirectory dir;
  const std::string model = test::source_path("models/codecllm-stories");
  QuantizeOptions options = {.scheme = scheme_preset("coded-3.5"), .target = {.bits = 3.5, .bytes = {}}};
  options.selection.only = {"model.layers.0.*"};
  options.algorithm.calibration = {.text = model + "/heldout.txt", .samples = 2, .tokens = 64};
  double reached = 0;
  const QuantizeResult first = quantize_checkpoint(two_threads(), model, dir / "new/a", options, [&](double done, std::string_view what) {
    EXPECT_GE(done, reached) << what;
    reached = done;
    return true;
  });
  const QuantizeResult again = quantize_checkpoint(Context({.threads = 1}), model, dir / "b", options);
  EXPECT_EQ(test::files_of(dir / "new/a"), test::files_of(dir / "b"));
  double bits = 0, weights = 0;
  std::set<double> different;
  for (size_t i = 0; i < first.plan.size(); ++i) {
    EXPECT_EQ(first.plan[i].bits, again.plan[i].bits);
    bits += first.plan[i].bits * static_cast<double>(first.plan[i].weights);
    weights += static_cast<double>(first.plan[i].weights);
    different.insert(first.plan[i].bits);
  }
  EXPECT_LE(bits, 3.5 * weights);
  EXPECT_GT(different.size(), 3u);
}

TEST(RateTarget, NeedsARateToChoose) {
  const TempDirectory dir;
  const std::string model = test::source_path("models/codecllm-stories");
  for (const char* scheme : {"int8", "lossless", "int8-coded"})
    EXPECT_THROW(quantize_checkpoint(two_threads(), model, dir / "q", {.scheme = scheme_preset(scheme), .target = {.bits = 4, .bytes = {}}}), Error);
  EXPECT_THROW(quantize_checkpoint(two_threads(), model, dir / "q", {.scheme = scheme_preset("coded-4"), .target = {.bits = {}, .bytes = 100'000}}), Error);
}

// A layer whose inputs go together, as those of trained models do.
struct RateProblem {
  LayerTask task;
  std::vector<float> gram, original;
};

RateProblem correlated_layer(double bits) {
  constexpr int64_t kRows = 64, kColumns = 192, kSamples = 400;
  Rng rng(21);
  RateProblem p;
  p.task.linear = {"layer", LinearKind::mlp, kRows, kColumns, false, -1};
  p.task.scale_type = DType::f32;
  p.task.coded_bits = bits;
  for (int64_t i = 0; i < kRows * kColumns; ++i) p.task.weights.push_back(static_cast<float>(0.05 * rng.normal()));
  p.original = p.task.weights;
  std::vector<float> inputs(kSamples * kColumns);
  for (int64_t s = 0; s < kSamples; ++s) {
    double carried = 0;
    for (int64_t k = 0; k < kColumns; ++k) {
      carried = 0.8 * carried + rng.normal();
      inputs[static_cast<size_t>(s * kColumns + k)] = static_cast<float>(carried * (k % 16 == 0 ? 4 : 1));
    }
  }
  InputStatistics statistics(two_threads(), kColumns, kGramStatistics);
  statistics.add(inputs.data(), kSamples, kColumns, "layer");
  p.gram = statistics.take_gram();
  return p;
}

double output_error_of(const RateProblem& p) {
  std::vector<float> error = p.task.weights;
  for (size_t i = 0; i < error.size(); ++i) error[i] -= p.original[i];
  return output_error(two_threads(), error, p.task.linear.rows, p.gram, p.task.linear.columns);
}

double bits_of(const RateProblem& p, const std::vector<Grid>& grids) {
  ClassCounts histogram;
  std::vector<uint8_t> elements(static_cast<size_t>(p.task.linear.columns));
  for (int64_t row = 0; row < p.task.linear.rows; ++row) {
    for (size_t k = 0; k < elements.size(); ++k)
      elements[k] = static_cast<uint8_t>(128 + std::lround(p.task.weights[static_cast<size_t>(row) * elements.size() + k] / grids[static_cast<size_t>(row)].scale));
    histogram.add(p.task.kind, elements);
  }
  double bits = 0;
  best_shape(p.task.kind, histogram, bits);
  return bits + container_bits(p.task.linear.rows, p.task.linear.columns, 32);
}

TEST(GptqRate, LessErrorOfTheOutputAtNoMoreBits) {
  for (const double bits : {2.6, 3.0, 4.5}) {
    RateProblem plain = correlated_layer(bits), fed = correlated_layer(bits);
    const UniformRate rate = choose_rate({&plain.task.weights, 1}, plain.task.linear.columns, bits, container_bits(64, 192, 32));
    std::vector<int8_t> codes(192);
    for (size_t row = 0; row < 64; ++row) {
      const std::span<float> weights(&plain.task.weights[row * 192], 192);
      const float scale = rate_scale(rate, weights);
      rate_codes(rate, weights, scale, codes.data());
      for (size_t k = 0; k < 192; ++k) weights[k] = scale * codes[k];
    }
    const std::vector<Grid> grids = gptq_rate(two_threads(), fed.task, fed.gram, {});
    EXPECT_LE(bits_of(fed, grids), bits) << bits;
    EXPECT_GT(bits_of(fed, grids), bits - 0.05) << bits;
    EXPECT_LT(output_error_of(fed), 0.75 * output_error_of(plain)) << bits;
  }
}

// Blocks see what the blocks before them give, quantized (0) or left out (1): all of it is written and readable by then.
TEST(GptqRate, LayersOfAModel) {
  if (test::kSanitized) GTEST_SKIP() << "layers of a whole model; made-up ones are rounded above";
  const TempDirectory dir;
  const std::string model = test::source_path("models/codecllm-stories");
  QuantizeOptions options = {.scheme = scheme_preset("coded-3")};
  options.algorithm.name = "gptq";
  options.selection.only = {"model.layers.0.*", "model.layers.2.self_attn.*"};
  options.algorithm.calibration = {.text = model + "/heldout.txt", .samples = 2, .tokens = 64};
  const QuantizeResult result = quantize_checkpoint(two_threads(), model, dir / "q", options);
  EXPECT_TRUE(result.bad.empty());
  double bits = 0, weights = 0;
  for (const LayerReport& layer : result.layers) {
    bits += 8.0 * static_cast<double>(layer.bytes);
    weights += static_cast<double>(layer.weights);
  }
  EXPECT_LE(bits, 3.0 * weights);
  EXPECT_GT(bits, 2.93 * weights);
}

}  // namespace
}  // namespace codecllm
