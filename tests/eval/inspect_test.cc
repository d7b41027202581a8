// SPDX-License-Identifier: Apache-2.0
#include "eval/inspect.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "quant/quantize.h"
#include "quant/support.h"

namespace codecllm {
namespace {

using test::model_data;
using test::TempDirectory;
using test::Tensors;

InspectResult look(const std::string& directory) {
  return inspect(test::two_threads(), Checkpoint(directory));
}

const TensorReport& report(const InspectResult& r, const std::string& name) {
  return *std::find_if(r.tensors.begin(), r.tensors.end(),
                       [&](const TensorReport& t) { return t.name == name; });
}

// The problem that mentions this, or a complaint.
Problem problem(const InspectResult& r, const std::string& text) {
  for (const Problem& p : r.problems)
    if (p.text.find(text) != std::string::npos) return p;
  ADD_FAILURE() << "no problem about " << text;
  return {false, "", ""};
}

int64_t errors(const InspectResult& r) {
  return std::count_if(r.problems.begin(), r.problems.end(), [](const Problem& p) { return p.error; });
}

TEST(Inspect, CountsWhatIsThere) {
  for (const auto& [name, dtype, bits] :
       {std::tuple{"llama", "F32", 32.0}, {"llama-bf16", "BF16", 16.0}, {"llama-f16", "F16", 16.0}}) {
    const InspectResult r = look(model_data(name));
    EXPECT_EQ(r.family, "LlamaForCausalLM");
    EXPECT_EQ(r.linear_layers, 15);
    EXPECT_EQ(r.kinds, (std::map<std::string, int64_t>{
                           {"attention", 8}, {"embedding", 1}, {"lm_head", 1}, {"mlp", 6}, {"norm", 5}}));
    EXPECT_EQ(r.dtypes, (std::map<std::string, int64_t>{{dtype, 21}}));
    EXPECT_EQ(r.schemes, (std::map<std::string, int64_t>{{dtype, 15}}));
    EXPECT_EQ(r.bits_per_weight, bits);
    double elements = 0, bytes = 0;
    for (const auto& [tensor_name, tensor] : test::read_tensors(model_data(name))) {
      elements += static_cast<double>(test::values_of(tensor).size());
      bytes += static_cast<double>(tensor.data.size());
    }
    EXPECT_EQ(r.parameters, elements);
    EXPECT_EQ(static_cast<double>(r.weight_bytes), bytes);
    EXPECT_EQ(r.tensors.size(), 21u);
    EXPECT_EQ(r.scales.count, 0);
    EXPECT_EQ(errors(r), 0);
  }
}

TEST(Inspect, ATiedHeadIsNoLayer) {
  const InspectResult r = look(model_data("llama-tied"));
  EXPECT_FALSE(r.kinds.contains("lm_head"));
  EXPECT_EQ(errors(r), 0);
}

TEST(Inspect, KeysOfTheConfigMayBeNull) {
  const TempDirectory temp;
  const std::string source = test::copied_model("llama", temp / "source");
  OrderedJson config = read_ordered_json_file(source + "/config.json");
  config["tie_word_embeddings"] = nullptr;
  temp.write("source/config.json", dump_json(config));
  quantize_checkpoint(test::two_threads(), source, temp / "m", {.scheme = scheme_preset("int8")});
  EXPECT_EQ(errors(look(temp / "m")), 0);
}

TEST(Inspect, RangesAndEntropyAreThoseOfTheValues) {
  const TempDirectory temp;
  const std::string embedding = "model.embed_tokens.weight", head = "lm_head.weight",
                    norm = "model.norm.weight";
  const InspectResult r = look(test::edited_model("llama-bf16", temp / "m", [&](Tensors& tensors) {
    for (size_t i = 0; i < 96 * 64; ++i) {
      test::set_value(tensors.at(embedding), i, static_cast<float>(i % 4) - 1.5f);
      test::set_value(tensors.at(head), i, i % 8 == 0 ? -7.0f : 3.0f);
    }
    for (size_t i = 0; i < 64; ++i) test::set_value(tensors.at(norm), i, 1.0f);
  }));
  EXPECT_DOUBLE_EQ(report(r, embedding).entropy_bits, 2);
  EXPECT_EQ(report(r, embedding).min, -1.5f);
  EXPECT_EQ(report(r, embedding).max, 1.5f);
  EXPECT_NEAR(report(r, head).entropy_bits, 3.0 / 8 + 7.0 / 8 * std::log2(8.0 / 7), 1e-12);
  EXPECT_EQ(report(r, head).min, -7.0f);
  EXPECT_EQ(report(r, norm).entropy_bits, 0);
}

TEST(Inspect, MeasuresCodesAndScalesOfAQuantizedModel) {
  const TempDirectory temp;
  const std::string layer = "model.layers.0.self_attn.q_proj";
  const std::string source = test::edited_model("llama-bf16", temp / "m", [&](Tensors& tensors) {
    for (size_t i = 0; i < 64 * 64; ++i)
      test::set_value(tensors.at(layer + ".weight"), i, i % 2 == 0 ? 0.5f : -0.5f);
  });
  quantize_checkpoint(test::two_threads(), source, temp / "q", {.scheme = scheme_preset("int8")});
  const InspectResult r = look(temp / "q");
  EXPECT_DOUBLE_EQ(report(r, layer + ".weight_packed").entropy_bits, 1);  // 127 and -127
  // Rows of all linear layers but lm_head: 64 + 32 + 32 + 64 + 96 + 96 + 64 in each of two blocks.
  EXPECT_EQ(r.scales.count, 2 * 448);
  EXPECT_EQ(r.scales.zeros, 0);
  EXPECT_EQ(r.scales.dtypes, (std::map<std::string, int64_t>{{"BF16", 14}}));
  double sum = 0, low = 1e9, high = 0;
  for (const auto& [name, tensor] : test::read_tensors(temp / "q"))
    if (name.ends_with(".weight_scale"))
      for (float v : test::values_of(tensor))
        sum += v, low = std::min<double>(low, v), high = std::max<double>(high, v);
  EXPECT_NEAR(r.scales.mean, sum / (2 * 448), 1e-12);
  EXPECT_EQ(r.scales.min, low);
  EXPECT_EQ(r.scales.max, high);
  EXPECT_EQ(r.linear_layers, 15);
  EXPECT_EQ(r.schemes.at("BF16"), 1);
  EXPECT_EQ(errors(r), 0);
}

TEST(Inspect, ValuesThatAreNotFiniteAreErrors) {
  const TempDirectory temp;
  for (const char* name :
       {"model.norm.weight", "model.embed_tokens.weight", "model.layers.1.mlp.down_proj.weight"}) {
    const InspectResult r = look(test::edited_model("llama", temp / name, [&](Tensors& tensors) {
      test::set_value(tensors.at(name), 3, std::numeric_limits<float>::quiet_NaN());
      test::set_value(tensors.at(name), 9, -std::numeric_limits<float>::infinity());
    }));
    EXPECT_EQ(report(r, name).not_finite, 2);
    EXPECT_TRUE(std::isfinite(report(r, name).min));
    const Problem p = problem(r, name);
    EXPECT_TRUE(p.error);
    EXPECT_NE(p.text.find("2 values that are not finite"), std::string::npos);
    EXPECT_FALSE(p.remedy.empty());
    EXPECT_EQ(errors(r), 1);
  }
}

TEST(Inspect, SoAreThoseInsideCodedTensors) {
  const TempDirectory temp;
  for (const std::string module : {"model.embed_tokens", "model.layers.1.mlp.down_proj"}) {
    const std::string source = test::edited_model("llama-bf16", temp / module, [&](Tensors& tensors) {
      test::set_value(tensors.at(module + ".weight"), 3, std::numeric_limits<float>::quiet_NaN());
      test::set_value(tensors.at(module + ".weight"), 9, -std::numeric_limits<float>::infinity());
    });
    quantize_checkpoint(test::two_threads(), source, temp / module + "-coded", {.scheme = scheme_preset("lossless"), .force = true});
    const InspectResult r = look(temp / module + "-coded");
    EXPECT_EQ(report(r, module + ".weight_coded").not_finite, 2);
    EXPECT_NE(problem(r, module + ".weight_coded").text.find("2 values that are not finite"), std::string::npos);
    EXPECT_EQ(errors(r), 1);
  }
}

TEST(Inspect, ScalesThatAreZeroAreErrors) {
  const TempDirectory temp;
  quantize_checkpoint(test::two_threads(), model_data("llama-bf16"), temp / "q",
                      {.scheme = scheme_preset("int8")});
  Tensors tensors = test::read_tensors(temp / "q");
  const std::string name = "model.layers.1.self_attn.o_proj.weight_scale";
  for (size_t i : {0, 17}) test::set_value(tensors.at(name), i, 0);
  test::write_tensors(temp / "q/model.safetensors", tensors);
  const InspectResult r = look(temp / "q");
  EXPECT_EQ(r.scales.zeros, 2);
  EXPECT_EQ(r.scales.min, 0);
  const Problem p = problem(r, name);
  EXPECT_TRUE(p.error);
  EXPECT_NE(p.text.find("2 scales that are zero"), std::string::npos);
}

TEST(Inspect, AMissingTokenizerIsAWarning) {
  const TempDirectory temp;
  const std::string directory = test::copied_model("llama", temp / "m");
  EXPECT_FALSE(problem(look(directory), "tokenizer.json").error);
  temp.write("m/tokenizer.json", "{}");
  EXPECT_TRUE(look(directory).problems.empty());
}

TEST(Inspect, LayersOfTheWrongShapeOrMissingAreErrors) {
  const TempDirectory temp;
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  const InspectResult wrong = look(test::edited_model("llama", temp / "wrong", [&](Tensors& tensors) {
    tensors.at(name).decl.shape = {32, 80};
  }));
  EXPECT_TRUE(problem(wrong, name).error);
  const InspectResult missing =
      look(test::edited_model("llama", temp / "missing", [&](Tensors& tensors) { tensors.erase(name); }));
  EXPECT_TRUE(problem(missing, name).error);
  EXPECT_EQ(errors(missing), 1);
}

TEST(Inspect, CanBeInterrupted) {
  test::error_of(
      [] {
        inspect(test::two_threads(), Checkpoint(model_data("llama")),
                [](double, std::string_view) { return false; });
      },
      ErrorCode::interrupted);
}

}  // namespace
}  // namespace codecllm
