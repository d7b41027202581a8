// SPDX-License-Identifier: Apache-2.0
// What other engines, or this one, will stumble over is named, with a remedy.
#include <gtest/gtest.h>

#include "eval/inspect.h"
#include "format/plain_float.h"
#include "io/packed.h"
#include "model/weights.h"
#include "quant/convert.h"
#include "quant/convert_source.h"
#include "quant/quantize.h"
#include "quant/support.h"
#include "quant/verify.h"

namespace codecllm {
namespace {

using test::TempDirectory;
using test::Tensors;

class Lint : public ::testing::Test {
 protected:
  std::string quantized(const std::string& scheme, const std::string& model = "llama-bf16") {
    quantize_checkpoint(test::two_threads(), test::model_data(model), temp_ / scheme, {.scheme = scheme_preset(scheme)});
    return temp_ / scheme;
  }

  static void edit_config(const std::string& model, const std::function<void(OrderedJson& quantization)>& edit) {
    OrderedJson config = read_ordered_json_file(model + "/config.json");
    edit(config["quantization_config"]);
    write_file_atomically(model + "/config.json", dump_json(config));
  }

  static void edit_tensors(const std::string& model, const std::function<void(Tensors& tensors)>& edit) {
    Tensors tensors = test::read_tensors(model);
    edit(tensors);
    test::write_tensors(model + "/model.safetensors", tensors);
  }

  // The problem that mentions this.
  static Problem problem(const std::string& model, const std::string& text) {
    for (const Problem& p : inspect(test::two_threads(), Checkpoint(model)).problems)
      if (p.text.find(text) != std::string::npos) {
        EXPECT_FALSE(p.remedy.empty());
        return p;
      }
    ADD_FAILURE() << "no problem about " << text;
    return {false, "", ""};
  }

  static bool mentions(const std::string& model, const std::string& text) {
    for (const Problem& p : inspect(test::two_threads(), Checkpoint(model)).problems)
      if (p.text.find(text) != std::string::npos) return true;
    return false;
  }

  TempDirectory temp_;
  const std::string q_ = "model.layers.0.self_attn.q_proj";
};

TEST_F(Lint, BlocksThatFusedLayersCut) {
  const std::string model = quantized("fp8-block");
  EXPECT_FALSE(problem(model, q_ + " has 64 outputs, which are not whole blocks of 128").error);
  // Blocks that all outputs but not all inputs (down_proj's 96) are made of.
  edit_config(model, [](OrderedJson& config) { config["config_groups"]["group_0"]["weights"]["block_structure"] = {32, 64}; });
  EXPECT_FALSE(problem(model, "model.layers.0.mlp.down_proj has 96 inputs, which are not whole blocks of 64").error);
}

TEST_F(Lint, FixedActivationsWithoutScales) {
  const std::string model = quantized("w8a8");
  edit_config(model, [](OrderedJson& config) {
    config["config_groups"]["group_0"]["input_activations"]["dynamic"] = false;
    config["config_groups"]["group_0"]["input_activations"]["strategy"] = "tensor";
  });
  EXPECT_TRUE(problem(model, q_ + ".input_scale").error);
  std::vector<std::string> names;
  for (const LinearSpec& linear : read_spec(Checkpoint(model)).linears()) names.push_back(linear.name);
  for (const std::vector<float>& scale : {std::vector<float>{0}, {-1}, {std::numeric_limits<float>::infinity()}, {0.5f, 0.5f}, {0.5f}}) {
    edit_tensors(model, [&](Tensors& tensors) {
      for (const std::string& name : names)
        tensors[name + ".input_scale"] = test::make_tensor(name + ".input_scale", DType::f32, {static_cast<int64_t>(scale.size())}, scale);
    });
    const bool good = scale == std::vector{0.5f};
    EXPECT_EQ(mentions(model, q_ + ".input_scale"), !good) << scale[0];
    EXPECT_EQ(verify(test::two_threads(), Checkpoint(model), nullptr).bad.empty(), good) << scale[0];
    if (good) {
      EXPECT_GT(load_model(test::two_threads(), model).weights.bytes(), 0u);
    } else {
      EXPECT_NE(test::error_of([&] { load_model(test::two_threads(), model); }).find("input_scale"), std::string::npos);
    }
  }
}

TEST_F(Lint, FormatsThatAreNotHowCodesAreStored) {
  for (const auto& [scheme, other] : {std::pair{"int8-g32", "int-quantized"}, {"w8a8", "pack-quantized"}, {"fp8", "dense"}}) {
    const std::string model = quantized(scheme);
    EXPECT_FALSE(mentions(model, "is stored as")) << scheme;
    edit_config(model, [&, format = other](OrderedJson& config) {
      config["format"] = format;
      config["config_groups"]["group_0"].erase("format");
    });
    const std::string stored = make_quant_config({{.scheme = scheme_preset(scheme)}}, {})["format"];
    const Problem found = problem(model, q_ + " is stored as " + stored + ", and quantization_config says \"" + other + "\"");
    EXPECT_FALSE(found.error);
    EXPECT_NE(found.remedy.find(stored), std::string::npos);
  }
}

// As a file of GPTQ's version 2 that is told as version 1: the weights are one step off, in every layer.
TEST_F(Lint, ZeroPointsOfAnotherConvention) {
  const std::string model = quantized("int4-g32-asym");
  convert_checkpoint(test::two_threads(), model, temp_ / "gptq", {.format = "gptq"});
  EXPECT_FALSE(mentions(temp_ / "gptq", "steps from zero on average"));
  EXPECT_TRUE(verify(test::two_threads(), Checkpoint(temp_ / "gptq"), nullptr).bad.empty());
  edit_config(temp_ / "gptq", [](OrderedJson& config) { config["checkpoint_format"] = "gptq"; });
  const Problem found = problem(temp_ / "gptq", "steps from zero on average");
  EXPECT_TRUE(found.error);
  EXPECT_NE(found.remedy.find("gptq_v2"), std::string::npos);
  const Checkpoint reference(test::model_data("llama-bf16")), checkpoint(temp_ / "gptq");
  const VerifyResult verified = verify(test::two_threads(), checkpoint, &reference);
  ASSERT_EQ(verified.bad.size(), 14u);
  for (const std::string& bad : verified.bad) EXPECT_NE(bad.find("steps off on average"), std::string::npos) << bad;
}

// Of eight bits a layer's mean is a step or two from zero where the weights lean to one side: that is no error.
TEST_F(Lint, WeightsThatLeanAreSound) {
  test::edited_model("llama-bf16", temp_ / "leaning", [](Tensors& tensors) {
    for (auto& [name, tensor] : tensors) {
      if (name.find("_proj.weight") == name.npos) continue;
      const std::vector<float> values = test::values_of(tensor);
      double power = 0;
      for (const float value : values) power += static_cast<double>(value) * value;
      const float lean = 0.1f * static_cast<float>(std::sqrt(power / static_cast<double>(values.size())));
      for (size_t i = 0; i < values.size(); ++i) test::set_value(tensor, i, values[i] + lean);
    }
  });
  for (const char* scheme : {"int8-asym", "int4-g32-asym"}) {
    quantize_checkpoint(test::two_threads(), temp_ / "leaning", temp_ / scheme, {.scheme = scheme_preset(scheme)});
    EXPECT_FALSE(mentions(temp_ / scheme, "steps from zero on average")) << scheme;
  }
}

TEST_F(Lint, ZeroPointsOfSymmetricWeights) {
  for (const auto& [scheme, middle] : {std::pair{"int4-g32-asym", 0x88}, {"int8-asym", 0x80}}) {
    const std::string model = quantized(scheme);
    edit_config(model, [](OrderedJson& config) { config["config_groups"]["group_0"]["weights"]["symmetric"] = true; });
    EXPECT_TRUE(problem(model, "set \"symmetric\" to false under weights (tensor " + q_).error);
    const auto problems = inspect(test::two_threads(), Checkpoint(model)).problems;
    EXPECT_EQ(std::count_if(problems.begin(), problems.end(), [](const Problem& p) { return p.error; }), 1);  // for all layers
    EXPECT_NE(test::error_of([&] { load_model(test::two_threads(), model); }).find("weight_zero_point"), std::string::npos);
    // Those of symmetric weights, which some writers store.
    edit_tensors(model, [byte = static_cast<std::byte>(middle)](Tensors& tensors) {
      for (auto& [name, tensor] : tensors)
        if (name.ends_with(".weight_zero_point")) std::fill(tensor.data.begin(), tensor.data.end(), byte);
    });
    EXPECT_FALSE(mentions(model, "symmetric"));
    EXPECT_GT(load_model(test::two_threads(), model).weights.bytes(), 0u);
    // Of any type, and beside any codes.
    for (const DType type : {DType::i8, DType::i64, DType::f32})
      for (const int value : {0, 1}) {
        edit_tensors(model, [&](Tensors& tensors) {
          const std::string name = q_ + ".weight_zero_point";
          tensors[name] = {{name, type, {2}}, std::vector<std::byte>(static_cast<size_t>(dtype_bits(type)) / 4, static_cast<std::byte>(value))};
        });
        EXPECT_EQ(mentions(model, "set \"symmetric\" to false"), value != 0) << scheme << static_cast<int>(type);
      }
  }
}

TEST_F(Lint, AHeadThatIsStoredAsCodes) {
  QuantizeOptions options = {.scheme = scheme_preset("w8a8"), .selection = {.only = {"*"}, .ignore = {}}};
  quantize_checkpoint(test::two_threads(), test::model_data("llama-bf16"), temp_ / "head", options);
  EXPECT_FALSE(mentions(temp_ / "head", "lm_head is stored in 16 bits"));
  const std::string model = quantized("w8a8");
  edit_config(model, [](OrderedJson& config) { config["ignore"] = OrderedJson::array(); });
  EXPECT_FALSE(problem(model, "lm_head is stored in 16 bits").error);
}

TEST_F(Lint, WhoLoadsTheMethodCodecllm) {
  const std::string model = quantized("int8");
  convert_checkpoint(test::two_threads(), model, temp_ / "own", {.format = "codecllm"});
  EXPECT_FALSE(problem(temp_ / "own", "only codecllm loads the method codecllm").error);
}

TEST_F(Lint, ZeroPointsThatAreNoCodes) {
  const std::string model = quantized("int4-g32-asym"), name = q_ + ".weight_zero_point";
  for (const auto& [zero, good] : {std::pair{7, true}, {-8, true}, {8, false}}) {
    edit_tensors(model, [&, byte = static_cast<std::byte>(zero)](Tensors& tensors) {
      test::Tensor& tensor = tensors.at(name);
      tensor.decl = {name, DType::i8, {64, 2}};
      tensor.data.assign(128, byte);
    });
    EXPECT_EQ(mentions(model, name + " holds 8, which is no code of 4 bits"), !good) << zero;
  }
}

TEST_F(Lint, CodesThatTheConfigIgnores) {
  const std::string model = quantized("int8");
  edit_config(model, [](OrderedJson& config) { config["ignore"].push_back("re:.*q_proj"); });
  const Problem untold = problem(model, "is stored as codes, and quantization_config does not say how to read them");
  EXPECT_TRUE(untold.error);
  EXPECT_NE(untold.text.find("(tensor " + q_ + "), the first of 2 layers"), std::string::npos) << untold.text;
  OrderedJson config = read_ordered_json_file(model + "/config.json");
  config.erase("quantization_config");
  write_file_atomically(model + "/config.json", dump_json(config));
  const std::vector<Problem> problems = inspect(test::two_threads(), Checkpoint(model)).problems;
  EXPECT_EQ(std::count_if(problems.begin(), problems.end(), [](const Problem& p) { return p.error; }), 1);
  EXPECT_TRUE(problem(model, "stored as codes, and config.json has no quantization_config").error);
}

TEST_F(Lint, ScalesForACacheOfEightBits) {
  const std::string model = quantized("fp8");
  EXPECT_FALSE(mentions(model, "KV cache"));
  edit_tensors(model, [](Tensors& tensors) {
    const std::string name = "model.layers.0.self_attn.k_scale";
    tensors[name] = test::make_tensor(name, DType::f32, {1}, {0.5f});
  });
  EXPECT_FALSE(problem(model, "scales for an 8-bit KV cache").error);
  EXPECT_GT(load_model(test::two_threads(), model).weights.bytes(), 0u);
}

TEST_F(Lint, NumbersOfEightBitsThatAreNone) {
  const std::string model = quantized("fp8");
  edit_tensors(model, [&](Tensors& tensors) { tensors.at(q_ + ".weight").data[7] = std::byte{0xff}; });
  EXPECT_TRUE(problem(model, q_ + ".weight holds 1 values that are not finite").error);
}

TEST_F(Lint, ScalesThatAreNotFinite) {
  const std::string model = quantized("int8");
  edit_tensors(model, [&](Tensors& tensors) { test::set_value(tensors.at(q_ + ".weight_scale"), 0, std::numeric_limits<float>::infinity()); });
  EXPECT_TRUE(problem(model, q_ + ".weight_scale holds 1 values that are not finite").error);
  EXPECT_TRUE(std::isfinite(inspect(test::two_threads(), Checkpoint(model)).scales.max));
}

TEST_F(Lint, BiasesThatTheModelDoesNotHave) {
  const std::string model = quantized("int8");
  const auto with_bias = [&](float value) {
    edit_tensors(model, [&](Tensors& tensors) { tensors[q_ + ".bias"] = test::make_tensor(q_ + ".bias", DType::bf16, {64}, std::vector<float>(64, value)); });
  };
  with_bias(0);
  EXPECT_FALSE(mentions(model, "there is no bias"));
  with_bias(0.5f);
  EXPECT_TRUE(problem(model, q_ + ".bias is not zero").error);
}

TEST_F(Lint, WhatTransformersMustBeTold) {
  EXPECT_FALSE(problem(quantized("int4-g32-asym"), "CompressedTensorsConfig(dequantize=True)").error);
  EXPECT_FALSE(mentions(quantized("int4-g32"), "dequantize"));
  const std::string model = quantized("int8-g32");
  edit_config(model, [](OrderedJson& config) { config["config_groups"]["group_0"]["weights"]["actorder"] = "group"; });
  EXPECT_FALSE(problem(model, "refuse activation order").error);
  convert_checkpoint(test::two_threads(), temp_ / "int4-g32-asym", temp_ / "gptq", {.format = "gptq"});
  EXPECT_FALSE(mentions(temp_ / "gptq", "dequantize"));  // those are words about compressed-tensors
}

// As compressed-tensors wrote them before it packed them: one byte each. Both mean the same.
TEST_F(Lint, ZeroPointsThatAreNotPacked) {
  const std::string model = quantized("int4-g32-asym");
  const auto values = [&] {
    const Checkpoint checkpoint(model);
    const SourceLinear source(checkpoint, QuantConfig::read(checkpoint.config(), "config.json"), read_spec(checkpoint).linears().front());
    std::vector<float> row(64);
    source.values(5, row);
    return row;
  };
  const std::vector<float> packed = values();
  EXPECT_FALSE(mentions(model, "are not packed"));
  edit_tensors(model, [](Tensors& tensors) {
    for (auto& [name, tensor] : tensors) {
      if (!name.ends_with(".weight_zero_point")) continue;
      const int64_t rows = tensor.decl.shape[0] * 8, groups = tensor.decl.shape[1];
      std::vector<std::byte> zeros(static_cast<size_t>(rows * groups));
      unpack_zero_points(tensor.data.data(), static_cast<size_t>(rows), static_cast<size_t>(groups), 4, Packing::dense,
                         reinterpret_cast<int8_t*>(zeros.data()));
      tensor = {{name, DType::i8, {rows, groups}}, zeros};
    }
  });
  EXPECT_FALSE(problem(model, "are not packed").error);
  EXPECT_EQ(values(), packed);
  EXPECT_GT(load_model(test::two_threads(), model).weights.bytes(), 0u);
}

}  // namespace
}  // namespace codecllm
