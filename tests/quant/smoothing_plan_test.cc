// SPDX-License-Identifier: Apache-2.0
// Smoothing that cannot happen is told, before any work, and not claimed afterwards.
#include "quant/smoothing_plan.h"

#include <gtest/gtest.h>

#include "quant/calibrated.h"
#include "quant/provenance.h"

namespace codecllm {
namespace {

using test::TempDirectory;

class SmoothingPlan : public ::testing::Test {
 protected:
  void SetUp() override { test::calibrated_model(temp_, "llama-bf16"); }

  QuantizeOptions options(const std::string& algorithm, std::vector<std::string> only = {}) const {
    QuantizeOptions options = {.scheme = scheme_preset("int8"), .selection = {.only = std::move(only), .ignore = {}}};
    options.algorithm.name = algorithm;
    options.algorithm.calibration = test::few_samples(temp_);
    return options;
  }
  QuantizeOptions recipe(std::vector<std::pair<std::string, std::string>> steps) const {  // targets, algorithm
    QuantizeOptions all;
    for (const auto& [target, algorithm] : steps) {
      const QuantizeOptions one = options(algorithm, {target});
      all.recipe.push_back({.scheme = one.scheme, .selection = one.selection, .algorithm = one.algorithm});
    }
    return all;
  }
  std::vector<std::string> notes(const QuantizeOptions& options) const {
    const Checkpoint checkpoint(temp_ / "m");
    std::vector<std::string> told;
    for (const std::string& note : plan_job(checkpoint, read_spec(checkpoint), options).notes)
      if (note.find("does not smooth") != std::string::npos) told.push_back(note);
    return told;
  }
  const TempDirectory temp_;
};

TEST_F(SmoothingPlan, WholeModelsAreSmoothedWithoutAWord) {
  for (const char* algorithm : {"awq", "smoothquant", "smoothquant+gptq", "awq+gptq"}) {
    EXPECT_TRUE(notes(options(algorithm)).empty()) << algorithm;
    EXPECT_TRUE(notes(options(algorithm, {"mlp"})).empty()) << algorithm;
    EXPECT_TRUE(notes(options(algorithm, {"attention"})).empty()) << algorithm;
    EXPECT_TRUE(notes(recipe({{"mlp", algorithm}, {"attention", "rtn"}})).empty()) << algorithm;
  }
  EXPECT_TRUE(notes(options("gptq", {"*.q_proj"})).empty());
}

TEST_F(SmoothingPlan, WhatCannotBeIsOneNoteAndStrictlyAnError) {
  const auto only = [&](const QuantizeOptions& options, const std::string& first, const std::string& reason) {
    const std::vector<std::string> told = notes(options);
    ASSERT_EQ(told.size(), 1u) << first;
    EXPECT_TRUE(told[0].starts_with(first + " and ")) << told[0];
    EXPECT_NE(told[0].find(reason), std::string::npos) << told[0];
    QuantizeOptions strict = options;
    strict.strict = true;
    const std::string refused =
        test::error_of([&] { quantize_checkpoint(test::two_threads(), temp_ / "m", temp_ / "out/q", strict); }, ErrorCode::bad_call);
    EXPECT_NE(refused.find(reason), std::string::npos) << refused;
    EXPECT_FALSE(test::exists(temp_ / "out"));
  };
  const std::string block = "model.layers.0.";
  only(options("smoothquant", {"*.down_proj"}), block + "mlp.down_proj", "1 more layer: smoothquant does not smooth here, since it moves scale out of norms alone");
  only(options("smoothquant", {"*.q_proj"}), block + "self_attn.q_proj", "all layers that read a value");
  only(options("awq", {"*.down_proj"}), block + "mlp.down_proj", "the linear layer that makes it");
  only(recipe({{"*", "rtn"}, {"*.gate_proj", "awq"}}), block + "mlp.gate_proj", "all layers that read a value");
  only(recipe({{"attention", "awq"}, {"*.v_proj", "rtn"}}), block + "self_attn.q_proj", "and 5 more layers: awq");
  const std::vector<std::string> head = notes(options("awq", {"*"}));
  ASSERT_EQ(head.size(), 1u);
  EXPECT_TRUE(head[0].starts_with("lm_head: awq does not smooth here, since it looks at decoder blocks alone")) << head[0];
}

// Two smoothings of different strength do not go together, either.
TEST_F(SmoothingPlan, ReadersAreSmoothedAlike) {
  QuantizeOptions two = recipe({{"*.gate_proj", "smoothquant"}, {"*.up_proj", "smoothquant"}});
  EXPECT_TRUE(notes(two).empty());
  two.recipe[1].algorithm.alpha = 0.7f;
  EXPECT_EQ(notes(two).size(), 1u);
}

TEST_F(SmoothingPlan, ProvenanceClaimsWhatWasDone) {
  const auto made = [&](const std::string& name, const QuantizeOptions& options) {
    EXPECT_TRUE(quantize_checkpoint(test::two_threads(), temp_ / "m", temp_ / name, options).bad.empty());
    return read_json_file(temp_ / name + "/" + kProvenanceFile);
  };
  const Json none = made("none", options("smoothquant", {"*.down_proj"}));
  EXPECT_EQ(none["algorithm"], "rtn");
  EXPECT_FALSE(none.contains("alpha"));
  EXPECT_EQ(none["nearest"].size(), 2u);
  EXPECT_TRUE(none["smoothing"].empty());
  EXPECT_EQ(made("gptq", options("smoothquant+gptq", {"*.down_proj"}))["algorithm"], "gptq");
  EXPECT_EQ(made("gptq after awq", options("awq+gptq", {"*.down_proj"}))["algorithm"], "gptq");

  const Json some = made("some", options("smoothquant"));
  EXPECT_EQ(some["algorithm"], "smoothquant");
  EXPECT_EQ(some["smoothing"].size(), 4u);  // two norms of each of two blocks
  EXPECT_EQ(some["unsmoothed"], Json({"model.layers.0.mlp.down_proj", "model.layers.0.self_attn.o_proj", "model.layers.1.mlp.down_proj", "model.layers.1.self_attn.o_proj"}));
  EXPECT_FALSE(made("awq", options("awq")).contains("unsmoothed"));
}

}  // namespace
}  // namespace codecllm
