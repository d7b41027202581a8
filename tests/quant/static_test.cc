// SPDX-License-Identifier: Apache-2.0
// Static scales of activations: from calibration into the file, and from there into the products.
#include <gtest/gtest.h>

#include "eval/perplexity.h"
#include "format/plain_float.h"
#include "model/compute.h"
#include "quant/calibrated.h"
#include "quant/gptq.h"
#include "quant/provenance.h"

namespace codecllm {
namespace {

using test::TempDirectory;

QuantizeOptions static_options(const TempDirectory& temp, const std::string& algorithm = "rtn") {
  QuantizeOptions options = {.scheme = scheme_preset("w8a8-static")};
  options.algorithm.name = algorithm;
  options.algorithm.calibration = test::few_samples(temp);
  return options;
}

float input_scale(const Checkpoint& checkpoint, const std::string& module) {
  const TensorInfo& scale = checkpoint.need(module + ".input_scale");
  EXPECT_EQ(scale.shape, std::vector<int64_t>{1});
  return load_float(scale.data.data(), 0, scale.dtype);
}

// Largest magnitudes of what the layers read, each channel divided by the factor that was moved out of it.
std::map<std::string, float> largest_inputs(const TempDirectory& temp, const SmoothedSource& smoothed) {
  std::map<std::string, float> largest;
  test::for_inputs(temp / "m", test::few_samples(temp), [&](int64_t, const BlockInput& input, const TapPoint& point) {
    for (const LinearSpec& linear : input.readers) {
      const std::string weight = linear.name + ".weight";
      for (int64_t r = 0; r < point.rows; ++r)
        for (int64_t c = 0; c < point.columns; ++c) {
          const float factor = smoothed.scales_columns(weight) ? smoothed.column_factors(weight)[c] : 1;
          largest[linear.name] = std::max(largest[linear.name], std::fabs(point.data[r * point.stride + c] / factor));
        }
    }
  });
  return largest;
}

class StaticScales : public ::testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(StaticScales, AreThoseOfWhatTheWholeModelReads) {
  const auto [model_name, algorithm] = GetParam();
  const TempDirectory temp;
  test::calibrated_model(temp, model_name);
  const QuantizeResult result = quantize_checkpoint(test::two_threads(), temp / "m", temp / "q", static_options(temp, algorithm));
  EXPECT_TRUE(result.bad.empty());
  EXPECT_GT(result.calibration_seconds, 0);
  const Checkpoint source(temp / "m"), written(temp / "q");
  const ModelSpec spec = read_spec(source);
  SmoothedSource smoothed(source, spec);
  smoothed.add_all(read_provenance(temp / "q").factors, "");
  EXPECT_EQ(smoothed.factors().empty(), std::string(algorithm) == "rtn");
  const auto expected = largest_inputs(temp, smoothed);
  ASSERT_EQ(expected.size(), 14u);
  for (const auto& [name, largest] : expected) EXPECT_EQ(input_scale(written, name), largest / 127) << name;

  const QuantConfig config = QuantConfig::read(written.config(), "");
  EXPECT_EQ(config.method(), "compressed-tensors");
  EXPECT_EQ(config.groups().front().scheme.name, "w8a8-static");
  EXPECT_TRUE(verify(test::two_threads(), written, &source).bad.empty());

  const DecoderModel model = load_model(test::two_threads(), temp / "q"), original = load_model(test::two_threads(), temp / "m");
  EXPECT_EQ(compute_of(model.weights), "a8");
  const ActivationScheme& scheme = model.weights.blocks[1].down.weight.view().activation;
  EXPECT_EQ(scheme.mode, ActivationMode::a8_fixed);
  EXPECT_EQ(scheme.scale, input_scale(written, spec.block(1).down));
  const std::vector<int32_t> tokens = test::tiny_tokenizer().encode(test::words(60, 5), true, false);
  EXPECT_LT(perplexity(model, tokens, {}, &original).kl_mean, 0.02);
}

INSTANTIATE_TEST_SUITE_P(, StaticScales, ::testing::Combine(::testing::Values("llama-bf16", "qwen2"), ::testing::Values("rtn", "smoothquant")),
                         [](const auto& p) {
                           std::string name = std::string(std::get<0>(p.param)) + "_" + std::get<1>(p.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(StaticActivations, FollowTheScaleRule) {
  const TempDirectory temp;
  test::calibrated_model(temp, "llama-bf16");
  QuantizeOptions options = static_options(temp);
  quantize_checkpoint(test::two_threads(), temp / "m", temp / "ours", options);
  options.scale_rule = ScaleRule::full;
  EXPECT_TRUE(quantize_checkpoint(test::two_threads(), temp / "m", temp / "theirs", options).bad.empty());
  const std::string name = "model.layers.0.mlp.up_proj";  // the blocks before are others, too
  EXPECT_EQ(input_scale(Checkpoint(temp / "ours"), name) * 127, input_scale(Checkpoint(temp / "theirs"), name) * 127.5f);
}

// With a zero point the scale covers the range from the lowest to the highest value.
TEST(StaticActivations, AsymmetricOnesCoverTheRange) {
  const TempDirectory temp;
  test::calibrated_model(temp, "llama-bf16");
  QuantizeOptions options = static_options(temp);
  options.scheme = scheme_preset("w8a8-static-asym");
  EXPECT_TRUE(quantize_checkpoint(test::two_threads(), temp / "m", temp / "q", options).bad.empty());
  std::map<std::string, Range> ranges;
  test::for_inputs(temp / "m", test::few_samples(temp), [&](int64_t, const BlockInput& input, const TapPoint& point) {
    for (const LinearSpec& linear : input.readers)
      for (int64_t r = 0; r < point.rows; ++r)
        ranges[linear.name].include(finite_range({point.data + r * point.stride, static_cast<size_t>(point.columns)}));
  });
  const Checkpoint written(temp / "q");
  for (const auto& [name, range] : ranges) {
    const Grid grid = fit_grid(range, *options.scheme.activations, ScaleRule::restricted, DType::f32);
    EXPECT_EQ(input_scale(written, name), grid.scale) << name;
    EXPECT_EQ(static_cast<int8_t>(written.need(name + ".input_zero_point").data[0]), grid.zero) << name;
  }
  EXPECT_EQ(QuantConfig::read(written.config(), "").groups().front().scheme.name, "w8a8-static-asym");
  const DecoderModel model = load_model(test::two_threads(), temp / "q"), original = load_model(test::two_threads(), temp / "m");
  const ActivationScheme& scheme = model.weights.blocks[0].down.weight.view().activation;
  EXPECT_TRUE(scheme.asymmetric);
  const std::vector<int32_t> tokens = test::tiny_tokenizer().encode(test::words(60, 5), true, false);
  EXPECT_LT(perplexity(model, tokens, {}, &original).kl_mean, 0.02);
  quantize_checkpoint(test::two_threads(), temp / "m", temp / "dynamic", {.scheme = scheme_preset("w8a8-asym")});
  EXPECT_LT(perplexity(load_model(test::two_threads(), temp / "dynamic"), tokens, {}, &original).kl_mean, 0.02);
}

TEST(StaticActivations, InterruptedAnywhereTheyComeToTheSameBytes) {
  const TempDirectory temp;
  test::calibrated_model(temp, "llama-bf16");
  for (const char* algorithm : {"rtn", "smoothquant+gptq"}) {
    const std::string name = algorithm;
    const QuantizeOptions options = static_options(temp, algorithm);
    int calls = 0, resumed = 0;
    quantize_checkpoint(test::two_threads(), temp / "m", temp / name, options, [&](double share, std::string_view) {
      EXPECT_TRUE(share >= 0 && share <= 1) << share;
      return ++calls > 0;
    });
    for (int stop = 2; stop < calls; stop += test::kSanitized ? 44 : 11) {
      const std::string out = temp / (name + std::to_string(stop));
      int left = stop;
      test::error_of([&] { quantize_checkpoint(test::two_threads(), temp / "m", out, options, [&](double, std::string_view) { return --left > 0; }); },
                     ErrorCode::interrupted);
      resumed += quantize_checkpoint(test::two_threads(), temp / "m", out, options).resumed ? 1 : 0;
      ASSERT_EQ(test::difference(temp / name, out), "") << algorithm << " " << stop;
    }
    EXPECT_GT(resumed, test::kSanitized ? 0 : 2) << algorithm;
  }
}

TEST(StaticActivations, WhatCannotBeIsRefusedBeforeAnyWork) {
  const TempDirectory temp;
  test::calibrated_model(temp, "llama-bf16");
  const auto refused = [&](const QuantizeOptions& options, ErrorCode code) {
    return test::error_of([&] { quantize_checkpoint(test::two_threads(), temp / "m", temp / "q", options); }, code);
  };
  EXPECT_NE(refused({.scheme = scheme_preset("w8a8-static")}, ErrorCode::bad_call).find("--calibrate"), std::string::npos);
  QuantizeOptions head = static_options(temp);
  head.selection.only = {"*"};
  EXPECT_NE(refused(head, ErrorCode::unsupported).find("lm_head"), std::string::npos);
  EXPECT_FALSE(test::exists(temp / "q"));
  EXPECT_FALSE(test::exists(temp / "q.partial"));
}

TEST(StaticActivations, ADamagedScaleIsNoticed) {
  const TempDirectory temp;
  test::calibrated_model(temp, "llama-bf16");
  quantize_checkpoint(test::two_threads(), temp / "m", temp / "q", static_options(temp));
  test::Tensors tensors = test::read_tensors(temp / "q");
  test::set_value(tensors.at("model.layers.1.mlp.up_proj.input_scale"), 0, 0);
  test::write_tensors(temp / "q/model.safetensors", tensors);
  const VerifyResult damaged = verify(test::two_threads(), Checkpoint(temp / "q"), nullptr);
  ASSERT_EQ(damaged.bad.size(), 1u);
  EXPECT_NE(damaged.bad[0].find("model.layers.1.mlp.up_proj"), std::string::npos) << damaged.bad[0];
  test::error_of([&] { load_model(test::two_threads(), temp / "q"); }, ErrorCode::bad_input);
}

// What a block reads is what the blocks before it give, with their norms and the layers that stay as they are.
TEST(SequentialCalibration, ABlockSeesWhatTheWrittenBlocksGive) {
  const TempDirectory temp;
  test::calibrated_model(temp, "llama-bf16");
  QuantizeOptions options = {.scheme = scheme_preset("int4-g128")};
  options.selection.ignore = {"first-block"};
  options.algorithm.name = "gptq";
  options.algorithm.calibration = test::few_samples(temp);
  quantize_checkpoint(test::two_threads(), temp / "m", temp / "q", options);

  // Nothing is quantized before the second block's first layers, so their inputs are the whole model's.
  const ModelSpec spec = read_spec(Checkpoint(temp / "m"));
  InputStatistics statistics(test::two_threads(), spec.hidden, kGramStatistics);
  test::for_inputs(temp / "m", options.algorithm.calibration, [&](int64_t layer, const BlockInput& input, const TapPoint& point) {
    if (layer == 1 && input.tap == "attention_norm") statistics.add(point.data, point.rows, point.stride, "it");
  });
  const std::string name = spec.block(1).q;
  const QuantScheme fitted = fit_scheme(options.scheme, spec.hidden);
  LayerTask task = {{.name = name, .kind = LinearKind::attention, .rows = spec.heads * spec.head_dim, .columns = spec.hidden, .bias = false, .fused_group = 0},
                    *fitted.weights, ScaleRule::restricted, DType::bf16, test::values_of(test::read_tensors(temp / "m").at(name + ".weight"))};
  gptq(test::two_threads(), task, statistics.take_gram(), {});
  const DecoderModel model = load_model(test::two_threads(), temp / "q");
  std::vector<float> row(static_cast<size_t>(spec.hidden));
  for (int64_t n = 0; n < task.linear.rows; ++n) {
    read_row(model.weights.blocks[1].q.weight.view(), n, row.data());
    for (int64_t k = 0; k < spec.hidden; ++k) ASSERT_EQ(row[k], task.weights[n * spec.hidden + k]) << n << ", " << k;
  }
}

}  // namespace
}  // namespace codecllm
