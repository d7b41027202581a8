// SPDX-License-Identifier: Apache-2.0
// Algorithms from file to file: the function is kept, an interruption changes nothing, and damage is noticed.
#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "eval/perplexity.h"
#include "gen/tiny_tokenizer.h"
#include "quant/provenance.h"
#include "quant/quantize.h"
#include "quant/support.h"
#include "text/tokenizer.h"

namespace codecllm {
namespace {

class Algorithms : public ::testing::TestWithParam<std::tuple<const char*, const char*>> {
 protected:
  void SetUp() override {
    test::copied_model(std::get<1>(GetParam()), temp_ / "m");
    write_file_atomically(temp_ / "m/tokenizer.json", test::tiny_tokenizer_json());
    std::string text;
    Rng rng(1);
    static constexpr const char* kWords[] = {"the ", "hen ", "ran ", "in ", "a ", "sun, ", "why? ", "12 "};
    for (int i = 0; i < 300; ++i) text += kWords[rng.below(8)];
    temp_.write("text", text);
    options_ = {.scheme = scheme_preset("int4-g128")};
    options_.algorithm.name = std::get<0>(GetParam());
    options_.algorithm.calibration = {.text = temp_ / "text", .samples = 6, .tokens = 20};
  }
  const test::TempDirectory temp_;
  QuantizeOptions options_;
};

TEST_P(Algorithms, WriteACheckpointThatVerifiesAndDamageIsNoticed) {
  const QuantizeResult result = quantize_checkpoint(test::two_threads(), temp_ / "m", temp_ / "q", options_);
  EXPECT_TRUE(result.bad.empty());
  EXPECT_EQ(result.layers.size(), 14u);
  const Checkpoint source(temp_ / "m");
  EXPECT_TRUE(verify(test::two_threads(), Checkpoint(temp_ / "q"), &source).bad.empty());
  test::Tensors tensors = test::read_tensors(temp_ / "q");
  test::Tensor& norm = tensors.at("model.layers.1.input_layernorm.weight");
  test::set_value(norm, 3, 1.5f * test::values_of(norm)[3] + 1);
  test::write_tensors(temp_ / "q/model.safetensors", tensors);
  const VerifyResult damaged = verify(test::two_threads(), Checkpoint(temp_ / "q"), &source);
  ASSERT_EQ(damaged.bad.size(), 1u);
  EXPECT_NE(damaged.bad[0].find("model.layers.1.input_layernorm.weight"), std::string::npos);
}

TEST_P(Algorithms, InterruptedAnywhereTheyComeToTheSameBytes) {
  quantize_checkpoint(test::two_threads(), temp_ / "m", temp_ / "whole", options_);
  int calls = 0;
  quantize_checkpoint(test::two_threads(), temp_ / "m", temp_ / "counted", options_, [&](double, std::string_view) { return ++calls > 0; });
  int resumed = 0;
  for (int stop = 1; stop < calls; stop += test::kSanitized ? 32 : 9) {
    const std::string out = temp_ / ("q" + std::to_string(stop));
    int left = stop;
    try {
      quantize_checkpoint(test::two_threads(), temp_ / "m", out, options_, [&](double, std::string_view) { return --left > 0; });
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ErrorCode::interrupted) << error.what();
    }
    if (!test::exists(out)) resumed += quantize_checkpoint(test::two_threads(), temp_ / "m", out, options_).resumed ? 1 : 0;
    ASSERT_EQ(test::difference(temp_ / "whole", out), "") << stop;
  }
  EXPECT_GT(resumed, test::kSanitized ? 0 : 1);
}

// The same move at 8 bits: what is left is the rounding of INT8 weights, as plain rounding has it.
TEST_P(Algorithms, KeepTheModelsFunction) {
  options_.scheme = scheme_preset("int8");
  quantize_checkpoint(test::two_threads(), temp_ / "m", temp_ / "q", options_);
  quantize_checkpoint(test::two_threads(), temp_ / "m", temp_ / "rtn", {.scheme = options_.scheme});
  std::vector<int32_t> tokens;
  for (int i = 0; i < 200; ++i) tokens.push_back(i * 37 % 96);
  const DecoderModel source = load_model(test::two_threads(), temp_ / "m");
  const auto kl = [&](const std::string& name) {
    return perplexity(load_model(test::two_threads(), temp_ / name), tokens, {}, &source).kl_mean;
  };
  EXPECT_LT(kl("q"), 4 * kl("rtn") + 1e-5);
}

INSTANTIATE_TEST_SUITE_P(, Algorithms,
                         ::testing::Combine(::testing::Values("gptq", "awq", "smoothquant"),
                                            ::testing::Values("llama-bf16", "qwen2", "mistral")),
                         [](const auto& p) {
                           std::string name = std::string(std::get<0>(p.param)) + "_" + std::get<1>(p.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(AlgorithmOptions, ACalibrationTextIsAskedForAndNamesAreChecked) {
  const test::TempDirectory temp;
  QuantizeOptions options = {.scheme = scheme_preset("int8")};
  const auto refused = [&] {
    return test::error_of([&] { quantize_checkpoint(test::two_threads(), test::model_data("llama"), temp / "q", options); }, ErrorCode::bad_call);
  };
  options.algorithm.name = "gptq";
  EXPECT_NE(refused().find("--calibrate"), std::string::npos);
  options.algorithm.name = "magic";
  EXPECT_NE(refused().find("smoothquant"), std::string::npos);
  EXPECT_FALSE(test::exists(temp / "q"));
  EXPECT_FALSE(test::exists(temp / "q.partial"));
}

TEST(AlgorithmOptions, ClippedRoundingIsCloserThanPlain) {
  const test::TempDirectory temp;
  QuantizeOptions options = {.scheme = scheme_preset("int4-g128")};
  const auto plain = quantize_checkpoint(test::two_threads(), test::model_data("llama"), temp / "plain", options);
  options.algorithm.clip = true;
  const auto clipped = quantize_checkpoint(test::two_threads(), test::model_data("llama"), temp / "clip", options);
  ASSERT_EQ(plain.layers.size(), clipped.layers.size());
  double gain = 0;
  for (size_t i = 0; i < plain.layers.size(); ++i) {
    EXPECT_GE(clipped.layers[i].sqnr_db, plain.layers[i].sqnr_db - 1e-9);
    gain += clipped.layers[i].sqnr_db - plain.layers[i].sqnr_db;
  }
  EXPECT_GT(gain, 0);
}

TEST(Provenance, DamagedFilesAreRefused) {
  const test::TempDirectory temp;
  EXPECT_FALSE(read_provenance(temp.path()).known);
  const auto read = [&](const std::string& text) {
    temp.write(kProvenanceFile, text);
    return read_provenance(temp.path());
  };
  const Provenance good = read("{\"version\":1,\"algorithm\":\"awq\",\"smoothing\":{\"a\":[1,0.5]}}");
  EXPECT_EQ(good.algorithm, "awq");
  EXPECT_EQ(good.factors.at("a"), (std::vector<float>{1, 0.5f}));
  EXPECT_FALSE(good.is_nearest("m"));
  const Provenance mixed = read("{\"version\":1,\"algorithm\":\"recipe\",\"nearest\":[\"m\"]}");
  EXPECT_TRUE(mixed.is_nearest("m"));
  EXPECT_FALSE(mixed.is_nearest("n"));
  for (const char* bad : {"{", "[]", "{\"version\":2,\"algorithm\":\"awq\"}", "{\"version\":1}",
                          "{\"version\":1,\"algorithm\":\"awq\",\"smoothing\":[]}",
                          "{\"version\":1,\"algorithm\":\"awq\",\"nearest\":\"m\"}", "{\"version\":1,\"algorithm\":\"awq\",\"nearest\":[1]}",
                          "{\"version\":1,\"algorithm\":\"awq\",\"smoothing\":{\"a\":1}}",
                          "{\"version\":1,\"algorithm\":\"awq\",\"smoothing\":{\"a\":[\"x\"]}}"})
    EXPECT_THROW(read(bad), Error) << bad;
}

}  // namespace
}  // namespace codecllm
