// SPDX-License-Identifier: Apache-2.0
// Recipes: what they may say, which layer gets what, and that the result is what their steps alone would give.
#include "quant/recipe.h"

#include <gtest/gtest.h>

#include "eval/perplexity.h"
#include "quant/calibrated.h"
#include "quant/dry_run.h"
#include "quant/provenance.h"

namespace codecllm {
namespace {

using test::TempDirectory;

std::vector<RecipeStep> recipe(const std::string& text) {
  const TempDirectory temp;
  temp.write("recipe.json", text);
  return read_recipe(temp / "recipe.json", {});
}

std::string refusal(const std::string& text, ErrorCode code = ErrorCode::bad_call) {
  return test::error_of([&] { recipe(text); }, code);
}

std::string step(const std::string& fields) { return "{\"version\": 1, \"steps\": [" + fields + "]}"; }

TEST(Recipe, SaysWhatTheOptionsSay) {
  const auto steps = recipe(step(R"({"targets": ["mlp"], "ignore": ["re:.*down"], "scheme": "int4-g128", "algorithm": "smoothquant+gptq",
      "parameters": {"damping": 0.05, "act_order": false, "clip": true, "alpha": 0.25}}, {"scheme": "w8a8"})"));
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_EQ(steps[0].selection.only, std::vector<std::string>{"mlp"});
  EXPECT_EQ(steps[0].selection.ignore, std::vector<std::string>{"re:.*down"});
  EXPECT_EQ(steps[0].scheme, scheme_preset("int4-g128"));
  EXPECT_EQ(steps[0].algorithm.name, "smoothquant+gptq");
  EXPECT_EQ(steps[0].algorithm.damping, 0.05);
  EXPECT_EQ(steps[0].algorithm.alpha, 0.25f);
  EXPECT_FALSE(steps[0].algorithm.act_order);
  EXPECT_TRUE(steps[0].algorithm.clip);
  EXPECT_EQ(steps[1].algorithm.name, "rtn");
  EXPECT_TRUE(steps[1].selection.only.empty());
}

TEST(Recipe, SchemesMayBeWrittenOut) {
  const auto steps = recipe(step(R"({"scheme": {"weights": {"num_bits": 8, "type": "float", "strategy": "channel"},
      "input_activations": {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": true}}},
      {"scheme": {"weights": {"num_bits": 5, "strategy": "group", "group_size": 64, "symmetric": false, "scale_dtype": "torch.float32"}}})"));
  EXPECT_EQ(steps[0].scheme.name, "fp8-channel");
  EXPECT_EQ(steps[1].scheme.weights->num_bits, 5);
  EXPECT_EQ(steps[1].scheme.weights->group_size, 64);
  EXPECT_EQ(steps[1].scheme.weights->scale_dtype, DType::f32);
}

TEST(Recipe, WhatItDoesNotKnowIsAnError) {
  const auto names = [](const std::string& text, std::initializer_list<const char*> words) {
    for (const char* word : words) EXPECT_NE(text.find(word), std::string::npos) << text;
  };
  names(refusal(step(R"({"scheme": "int8"}, {"tarets": ["mlp"], "scheme": "int8"})")), {"step 2", "'tarets'", "targets, ignore, scheme"});
  names(refusal(R"({"version": 1, "steps": [{"scheme": "int8"}], "comment": "x"})"), {"'comment'"});
  names(refusal(step(R"({"scheme": "int8", "parameters": {"dampening": 1}})")), {"step 1: parameters", "'dampening'"});
  names(refusal(step(R"({"scheme": "int8", "parameters": {"alpha": 0.5}})")), {"parameters of rtn", "'alpha'", "there are: clip"});
  names(refusal(step(R"({"scheme": "int8", "algorithm": "gptq", "parameters": {"damping": 0.1, "alpha": 0.5}})")), {"parameters of gptq", "clip, damping, act_order"});
  names(refusal(step(R"({"scheme": "int8", "algorithm": "awq+smoothquant", "parameters": {"alpha": 0.5}})")), {"the first must smooth"});
  names(refusal(step(R"({"scheme": "int8", "algorithm": "gptq+awq", "parameters": {"clip": true}})")), {"the first must smooth"});
  names(refusal(step(R"({"scheme": "none", "algorithm": "gptq"})")), {"step 1", "stay in 16 bits"});
  names(refusal(step(R"({"scheme": {"weights": {"num_bits": 4, "scale_dtype": "torch.float8_e4m3fn"}}})")), {"step 1: scheme's weights", "scale_dtype", "torch.bfloat16"});
  names(refusal(step(R"({"scheme": {"weights": {"bits": 4}}})")), {"'bits'", "num_bits"});
  names(refusal(step(R"({"targets": ["mlp"]})")), {"step 1 has no scheme"});
  names(refusal(step(R"({"scheme": "int9"})")), {"int9"});
  names(refusal(step(R"({"scheme": "bf16"})")), {"whole models"});
  names(refusal(step(R"({"scheme": "coded-4.5"})")), {"whole models"});
  names(refusal(step(R"({"scheme": "int8", "targets": []})")), {"'targets'"});
  names(refusal(step(R"({"scheme": "int8", "targets": [3]})")), {"'targets'"});
  names(refusal(step(R"({"scheme": "int8", "algorithm": "smoothquant", "parameters": {"alpha": 2}})")), {"alpha is not in 0 to 1"});
  names(refusal(step(R"({"scheme": {"weights": {"num_bits": 4, "group_size": 48}}})")), {"multiple of 32"});
  names(refusal(step(R"({"scheme": {"weights": {}, "input_activations": {"type": "float", "strategy": "token", "dynamic": true}}})")), {"of the weights' type"});
  names(refusal(step("")), {"at least one step"});
  names(refusal(R"({"version": 2, "steps": [{"scheme": "int8"}]})", ErrorCode::unsupported), {"version 2", "expected 1"});
  refusal("{\"version\": 1", ErrorCode::bad_input);
  refusal("[]");
}

std::map<std::string, std::string> chosen(const std::string& text) {
  const std::vector<RecipeStep> steps = recipe(text);
  std::map<std::string, std::string> schemes;
  for (const LayerChoice& choice : choose_layers(read_spec(Checkpoint(test::model_data("llama"))), steps))
    schemes[choice.linear.name] = steps[choice.step].scheme.name;
  return schemes;
}

TEST(Recipe, TheLastStepThatNamesALayerDecides) {
  const auto schemes = chosen(step(R"({"scheme": "int4-g128"}, {"targets": ["attention"], "scheme": "int8"},
      {"targets": ["model.layers.1.self_attn.o_proj"], "scheme": "none"})"));
  EXPECT_EQ(schemes.size(), 13u);
  EXPECT_EQ(schemes.at("model.layers.0.mlp.up_proj"), "int4-g128");
  EXPECT_EQ(schemes.at("model.layers.0.self_attn.o_proj"), "int8");
  EXPECT_FALSE(schemes.contains("model.layers.1.self_attn.o_proj"));
  EXPECT_EQ(chosen(step(R"({"scheme": "int8", "ignore": ["first-block"]}, {"targets": ["lm_head"], "scheme": "int8"})")).size(), 8u);
  EXPECT_EQ(chosen(step(R"({"targets": ["mlp"], "scheme": "int8"})")).size(), 6u);
  EXPECT_EQ(chosen(step(R"({"targets": ["attention"], "ignore": ["last-block"], "scheme": "int8"})")).size(), 4u);
  const std::string slip = test::error_of([] { chosen(step(R"({"scheme": "int8"}, {"targets": ["*.w1"], "scheme": "int8"})")); }, ErrorCode::bad_call);
  EXPECT_NE(slip.find("targets of step 2 of "), std::string::npos) << slip;
  EXPECT_NE(slip.find("recipe.json '*.w1' matches no layer"), std::string::npos) << slip;
  const std::string alone = test::error_of([] { chosen(step(R"({"targets": ["*.w1"], "scheme": "int8"})")); }, ErrorCode::bad_call);
  EXPECT_NE(alone.find("targets of step 1 of "), std::string::npos) << alone;
  EXPECT_EQ(alone.find("--only"), std::string::npos) << alone;
  test::error_of([] { chosen(step(R"({"scheme": "none"})")); }, ErrorCode::bad_call);
}

// A recipe of three kinds of layers, calibrated: every layer has the bytes that its step alone gives it.
TEST(Recipe, EachLayerIsAsItsStepAloneMakesIt) {
  const TempDirectory temp;
  test::calibrated_model(temp, "llama-bf16");
  temp.write("recipe.json", step(R"({"targets": ["attention"], "scheme": "w8a8-static"}, {"targets": ["mlp"], "scheme": "int4-g128", "algorithm": "awq"},
      {"targets": ["*.1.mlp.down_proj"], "scheme": "fp8-channel"})"));
  QuantizeOptions options;
  options.algorithm.calibration = test::few_samples(temp);
  options.recipe = read_recipe(temp / "recipe.json", options.algorithm.calibration);
  const QuantizeResult result = quantize_checkpoint(test::two_threads(), temp / "m", temp / "q", options);
  EXPECT_TRUE(result.bad.empty());
  EXPECT_EQ(result.layers.size(), 14u);
  const test::Tensors mixed = test::read_tensors(temp / "q");

  const auto alone = [&](const char* scheme, const char* algorithm, const std::string& only, const char* part) {
    QuantizeOptions one = {.scheme = scheme_preset(scheme), .selection = {.only = {only}, .ignore = {}}};
    one.algorithm.calibration = options.algorithm.calibration;
    one.algorithm.name = algorithm;
    const std::string out = temp / ("alone" + only.substr(0, 3));
    quantize_checkpoint(test::two_threads(), temp / "m", out, one);
    size_t compared = 0;
    for (const auto& [name, tensor] : test::read_tensors(out)) {
      if (name.find(part) == std::string::npos) continue;
      EXPECT_EQ(mixed.at(name).data, tensor.data) << name;
      ++compared;
    }
    EXPECT_GE(compared, 9u);
  };
  alone("w8a8-static", "rtn", "attention", "self_attn");
  alone("int4-g128", "awq", "mlp", "0.mlp");

  const Provenance provenance = read_provenance(temp / "q");
  EXPECT_EQ(provenance.algorithm, "recipe");
  EXPECT_TRUE(provenance.is_nearest("model.layers.0.self_attn.q_proj"));
  EXPECT_FALSE(provenance.is_nearest("model.layers.0.mlp.up_proj"));
  const QuantConfig config = QuantConfig::read(Checkpoint(temp / "q").config(), "");
  EXPECT_EQ(config.groups().size(), 4u);  // rows of down_proj fall into other groups than those of gate and up
  EXPECT_EQ(config.scheme_for("model.layers.1.mlp.down_proj")->name, "fp8-channel");
  const DecoderModel model = load_model(test::two_threads(), temp / "q"), source = load_model(test::two_threads(), temp / "m");
  const std::vector<int32_t> tokens = test::tiny_tokenizer().encode(test::words(60, 5), true, false);
  EXPECT_LT(perplexity(model, tokens, {}, &source).kl_mean, 0.2);
}

TEST(Strict, ShapesThatVllmRefusesAreToldBeforehand) {
  const test::TempDirectory temp;
  QuantizeOptions options = {.scheme = scheme_preset("fp8-block")};
  const QuantizeResult result = quantize_checkpoint(test::two_threads(), test::model_data("llama"), temp / "out", options);
  EXPECT_NE(result.notes.at(0).find("which are not whole blocks of 128; vLLM will refuse it"), std::string::npos);
  options.strict = true;
  test::error_of([&] { quantize_checkpoint(test::two_threads(), test::model_data("llama"), temp / "strict", options); }, ErrorCode::bad_call);
  options.scheme = scheme_preset("int4-g32");
  options.strict = false;
  EXPECT_NE(quantize_checkpoint(test::two_threads(), test::model_data("llama"), temp / "int4", options).notes.back().find("fast kernels"), std::string::npos);
}

TEST(Recipe, FusedLayersAndGroupsAreCheckedBeforeAnyWork) {
  const TempDirectory temp;
  QuantizeOptions options;
  options.recipe = recipe(step(R"({"targets": ["*.q_proj", "*.k_proj", "*.v_proj"], "scheme": "int8"}, {"targets": ["*.0.*.v_proj"], "scheme": "int4-g128"})"));
  const QuantizeResult result = quantize_checkpoint(test::two_threads(), test::model_data("llama"), temp / "q", options);
  const auto has = [](const std::vector<std::string>& notes, const std::string& words) {
    return std::any_of(notes.begin(), notes.end(), [&](const std::string& n) { return n.find(words) != std::string::npos; });
  };
  EXPECT_TRUE(has(result.notes, "q_proj (int8) and model.layers.0.self_attn.v_proj (int4-g32) differ; give all of them one scheme"));
  EXPECT_TRUE(has(result.notes, "do not divide into groups of 128"));
  options.strict = true;
  const auto refused = [&] {
    return test::error_of([&] { quantize_checkpoint(test::two_threads(), test::model_data("llama"), temp / "strict", options); }, ErrorCode::bad_call);
  };
  EXPECT_NE(refused().find("groups of 128"), std::string::npos);
  options.recipe = recipe(step(R"({"targets": ["*.q_proj"], "scheme": "int8"})"));
  const std::string fused = refused();
  EXPECT_NE(fused.find("k_proj (not quantized) differ"), std::string::npos) << fused;
  EXPECT_FALSE(test::exists(temp / "strict.partial"));
  options.recipe = recipe(step(R"({"scheme": "int8"})"));
  EXPECT_TRUE(quantize_checkpoint(test::two_threads(), test::model_data("llama"), temp / "strict", options).bad.empty());
}

TEST(Recipe, OneNoteForAllLayersOfAShape) {
  const std::string model = test::model_data("llama");
  const ModelSpec spec = read_spec(Checkpoint(model));
  std::map<int64_t, std::pair<std::string, int>> shapes;  // columns -> first layer, layers
  for (const LinearSpec& linear : spec.linears())
    if (linear.kind != LinearKind::lm_head && linear.columns % 128 != 0) {
      auto& [first, count] = shapes[linear.columns];
      if (count++ == 0) first = linear.name;
    }
  const std::vector<std::string> notes = plan_checkpoint(model, {.scheme = scheme_preset("int4-g128")}).notes;
  ASSERT_FALSE(shapes.empty());
  EXPECT_EQ(static_cast<size_t>(std::count_if(notes.begin(), notes.end(), [](const std::string& n) { return n.find("do not divide") != std::string::npos; })), shapes.size());
  for (const auto& [columns, shape] : shapes) {
    ASSERT_GT(shape.second, 1);
    const std::string start = shape.first + " and " + std::to_string(shape.second - 1) + " more layer" + (shape.second > 2 ? "s" : "") + ": rows of " +
                              std::to_string(columns) + " do not divide into groups of 128, so ";
    EXPECT_TRUE(std::any_of(notes.begin(), notes.end(), [&](const std::string& n) { return n.starts_with(start); })) << start;
  }
}

// What a dry run says is what a run gives.
TEST(DryRun, TellsTheSizesOfTheRealRun) {
  const TempDirectory temp;
  test::calibrated_model(temp, "llama-bf16");
  for (const char* scheme : {"int8", "int4-g128", "int3-g32-asym", "w8a8-static", "fp8-block", "bf16", "f32"}) {
    QuantizeOptions options = {.scheme = scheme_preset(scheme)};
    options.algorithm.calibration = test::few_samples(temp);
    const QuantizePlan plan = plan_checkpoint(temp / "m", options);
    EXPECT_FALSE(test::exists(temp / scheme));
    const QuantizeResult result = quantize_checkpoint(test::two_threads(), temp / "m", temp / scheme, options);
    EXPECT_EQ(plan.weight_bytes, result.weight_bytes) << scheme;
    EXPECT_EQ(plan.source_bytes, result.source_bytes);
    EXPECT_DOUBLE_EQ(plan.bits_per_weight, result.bits_per_weight) << scheme;
    EXPECT_EQ(plan.notes, result.notes);
    ASSERT_EQ(plan.layers.size(), result.layers.size());
    std::map<std::string, std::string> schemes;
    for (const LayerReport& layer : result.layers) schemes[layer.name] = layer.scheme;
    for (const PlannedLayer& layer : plan.layers) EXPECT_EQ(layer.scheme, schemes.at(layer.name));
    const DecoderModel model = load_model(test::two_threads(), temp / scheme);
    // Panels of sixteen rows are padded in memory, and vectors are F32 there.
    EXPECT_NEAR(static_cast<double>(plan.read_bytes_per_token), static_cast<double>(model.read_bytes_per_token()),
                0.1 * static_cast<double>(model.read_bytes_per_token())) << scheme;
  }
  test::error_of([&] { plan_checkpoint(temp / "m", {.scheme = scheme_preset("coded-4.5")}); }, ErrorCode::unsupported);
}

}  // namespace
}  // namespace codecllm
