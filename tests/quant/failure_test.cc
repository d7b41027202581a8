// SPDX-License-Identifier: Apache-2.0
// Sources that are bad leave neither an output nor a partial one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "quant/dry_run.h"
#include "quant/quantize.h"
#include "quant/support.h"
#include "quant/verify.h"

namespace codecllm {
namespace {

using test::Tensors;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Failure : public ::testing::Test {
 protected:
  template <class Edit>
  std::string source(const Edit& edit, const std::string& model = "llama") {
    return test::edited_model(model, temp_ / "m" + std::to_string(++made_), edit);
  }

  QuantizeResult quantize(const std::string& model, const char* scheme, bool force = false) {
    return quantize_checkpoint(test::two_threads(), model, temp_ / "out",
                               {.scheme = scheme_preset(scheme), .force = force});
  }

  std::string refused(const std::string& model, const char* scheme, ErrorCode code = ErrorCode::bad_input) {
    const std::string message = test::error_of([&] { quantize(model, scheme); }, code);
    EXPECT_FALSE(test::exists(temp_ / "out"));
    EXPECT_FALSE(test::exists(temp_ / "out.partial"));
    return message;
  }

  test::TempDirectory temp_;
  int made_ = 0;
};

const std::string kDown = "model.layers.1.mlp.down_proj.weight";  // [32, 80]

TEST_F(Failure, AValueThatIsNotFiniteIsNamed) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const std::string model = source([&](Tensors& t) { test::set_value(t.at(kDown), 21 * 80 + 77, bad); });
    for (const char* scheme : {"int8", "int8-tensor", "int8-g128"}) {
      const std::string message = refused(model, scheme);
      for (const std::string& part :
           {kDown, std::string("row 21"), std::string("column 77"), model + "/model.safetensors"})
        EXPECT_NE(message.find(part), std::string::npos) << message;
    }
    for (const char* scheme : {"bf16", "f16", "f32"}) {
      const std::string message = refused(model, scheme);
      EXPECT_NE(message.find(kDown), std::string::npos) << message;
      EXPECT_NE(message.find("element " + std::to_string(21 * 80 + 77)), std::string::npos) << message;
    }
  }
}

TEST_F(Failure, SoIsOneInATensorThatStaysPlain) {
  for (const char* name : {"model.norm.weight", "model.embed_tokens.weight", "lm_head.weight"}) {
    const std::string model =
        source([&](Tensors& t) { test::set_value(t.at(name), 30, std::numeric_limits<float>::quiet_NaN()); });
    for (const char* scheme : {"int8", "bf16"}) {
      const std::string message = refused(model, scheme);
      EXPECT_NE(message.find(name), std::string::npos) << message;
      EXPECT_NE(message.find("element 30"), std::string::npos) << message;
    }
  }
}

TEST_F(Failure, AndOneThatIsCodedExactly) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()})
    for (const char* scheme : {"lossless", "int8-coded", "fp8-coded", "coded-7.5"})
      for (const std::string& name : {kDown, std::string("model.embed_tokens.weight")}) {
        const std::string model = source([&](Tensors& t) { test::set_value(t.at(name), 21 * (name == kDown ? 80 : 32) + 7, bad); });
        EXPECT_THAT(refused(model, scheme), AllOf(HasSubstr(name.substr(0, name.size() - 7)), HasSubstr("row 21"))) << scheme;
      }
}

// A reference that is damaged must not make what is compared with it look good.
TEST_F(Failure, CodedLayersAreNotComparedWithADamagedReference) {
  const std::string model = source([&](Tensors& t) { test::set_value(t.at(kDown), 21 * 80 + 7, std::numeric_limits<float>::quiet_NaN()); });
  const std::string good = source([](Tensors&) {});
  for (const char* scheme : {"int8-coded", "fp8-coded", "lossless"}) {
    quantize(good, scheme);
    const Checkpoint written(temp_ / "out"), reference(model);
    EXPECT_THAT(verify(test::two_threads(), written, &reference).bad, ElementsAre(HasSubstr("row 21 of the source is not finite"))) << scheme;
    const Checkpoint sick_norm(source([](Tensors& t) { test::set_value(t.at("model.norm.weight"), 5, std::numeric_limits<float>::quiet_NaN()); }));
    EXPECT_THAT(verify(test::two_threads(), written, &sick_norm).bad, ElementsAre(HasSubstr("element 5 of the source is not finite"))) << scheme;
    std::filesystem::remove_all(temp_ / "out");
  }
}

TEST_F(Failure, NorArePlainTensorsOfAnotherType) {
  const std::string name = "model.norm.weight";
  const std::string good = source([](Tensors&) {});
  quantize(good, "bf16");
  const Checkpoint written(temp_ / "out");
  const auto complaint = [&](float value) {
    const Checkpoint reference(source([&](Tensors& t) { test::set_value(t.at(name), 5, value); }));
    return verify(test::two_threads(), written, &reference).bad;
  };
  EXPECT_THAT(complaint(std::numeric_limits<float>::quiet_NaN()), ElementsAre(HasSubstr("element 5 of the source is not finite")));
  EXPECT_THAT(complaint(77), ElementsAre(HasSubstr("element 5 is not the reference's, converted")));
}

TEST_F(Failure, ValuesBeyondTheTypeAreNotWritten) {
  const std::string model = source([&](Tensors& t) { test::set_value(t.at(kDown), 5, 70000.0f); });
  EXPECT_THAT(refused(model, "f16"), AllOf(HasSubstr(kDown), HasSubstr("element 5 is too large for F16")));
  quantize(model, "bf16");
}

// One scale for rows whose sizes span four decades leaves most of them as zeros.
TEST_F(Failure, OneScaleForRowsOfVeryDifferentSizeIsRefusedUnlessForced) {
  const std::string model = source([&](Tensors& t) {
    std::vector<float> values = test::values_of(t.at(kDown));
    for (size_t i = 0; i < values.size(); ++i)
      test::set_value(t.at(kDown), i,
                      values[i] * static_cast<float>(std::pow(10, -4.0 * static_cast<double>(i / 80) / 31)));
  });
  const std::string message = refused(model, "int8-tensor");
  EXPECT_NE(message.find("model.layers.1.mlp.down_proj"), std::string::npos) << message;
  EXPECT_NE(message.find("--force"), std::string::npos) << message;
  for (const char* scheme : {"int8", "int8-g128", "int4-g128"}) {
    EXPECT_TRUE(quantize(model, scheme).bad.empty()) << scheme;
    std::filesystem::remove_all(temp_ / "out");
  }
  const QuantizeResult forced = quantize(model, "int8-tensor", true);
  ASSERT_EQ(forced.bad.size(), 1u);
  EXPECT_NE(forced.bad[0].find("down_proj"), std::string::npos);
  EXPECT_TRUE(test::exists(temp_ / "out/model.safetensors"));
}

TEST_F(Failure, TensorsThatAreNotWhatTheConfigSaysAreNamed) {
  const std::string missing = source([&](Tensors& t) { t.erase(kDown); });
  EXPECT_NE(refused(missing, "int8").find(kDown), std::string::npos);
  const std::string turned = source([&](Tensors& t) { t.at(kDown).decl.shape = {80, 32}; });
  EXPECT_NE(refused(turned, "int8").find(kDown), std::string::npos);
  const std::string integers = source([&](Tensors& t) { t.at(kDown).decl.dtype = DType::i32; });
  const std::string message = refused(integers, "int8", ErrorCode::unsupported);
  EXPECT_NE(message.find(kDown), std::string::npos) << message;
}

TEST_F(Failure, TensorsThatTheModelLacks) {
  for (const std::string name : {"model.norm.weight", "model.layers.0.post_attention_layernorm.weight", "lm_head.weight"}) {
    const std::string model = source([&](Tensors& t) { t.erase(name); });
    EXPECT_NE(refused(model, "int8").find(name), std::string::npos) << name;
  }
  EXPECT_NE(refused(source([](Tensors& t) { t.erase(kDown); }), "int8").find(kDown), std::string::npos);
}

// Also where nothing but the shape or the type tells.
TEST_F(Failure, TensorsThatTheModelCannotTake) {
  const auto refused_by_all = [&](const std::string& model, const std::string& name, ErrorCode code) {
    EXPECT_NE(refused(model, "int8", code).find(name), std::string::npos);
    EXPECT_NE(test::error_of([&] { plan_checkpoint(model, {.scheme = scheme_preset("int8")}); }, code).find(name), std::string::npos);
    const VerifyResult result = verify(test::two_threads(), Checkpoint(model), nullptr);
    ASSERT_EQ(result.bad.size(), 1u) << name;
    EXPECT_NE(result.bad[0].find(name), std::string::npos) << result.bad[0];
  };
  const std::string norm = "model.norm.weight", embedding = "model.embed_tokens.weight";
  refused_by_all(source([&](Tensors& t) { t.erase(norm); }), norm, ErrorCode::bad_input);
  refused_by_all(source([&](Tensors& t) { t.at(norm).decl.shape = {t.at(norm).decl.shape[0] / 2, 2}; }), norm, ErrorCode::bad_input);
  refused_by_all(source([&](Tensors& t) { std::swap(t.at(embedding).decl.shape[0], t.at(embedding).decl.shape[1]); }), embedding, ErrorCode::bad_input);
  refused_by_all(source([&](Tensors& t) { t.at(norm).decl.dtype = DType::i32; }), norm, ErrorCode::unsupported);
}

TEST_F(Failure, LayersThatConfigDoesNotKnow) {
  const std::string model = source([](Tensors&) {});
  Json config = read_json_file(model + "/config.json");
  config["num_hidden_layers"] = 1;
  write_file_atomically(model + "/config.json", dump_json(config));
  EXPECT_NE(refused(model, "int8").find("1 layers"), std::string::npos);
  test::error_of([&] { load_model(test::two_threads(), model); }, ErrorCode::bad_input);
}

TEST_F(Failure, ADamagedTokenizerIsNotPassedOn) {
  const std::string model = source([](Tensors&) {});
  write_file_atomically(model + "/tokenizer.json", R"({"a":)");
  EXPECT_NE(refused(model, "int8").find("tokenizer.json"), std::string::npos);
}

TEST_F(Failure, OtherFilesMayBeWhatTheyLike) {
  const std::string model = source([](Tensors&) {}), notes = R"({"loss": NaN} // not JSON)";
  write_file_atomically(model + "/trainer_state.json", notes);
  std::filesystem::create_symlink("loop", model + "/loop");
  quantize_checkpoint(test::two_threads(), model, temp_ / "q", {.scheme = scheme_preset("int8")});
  EXPECT_EQ(read_file(temp_ / "q/trainer_state.json"), notes);
  EXPECT_FALSE(test::exists(temp_ / "q/loop"));
}

TEST_F(Failure, RowsOfZerosAreFine) {
  const std::string model = source([&](Tensors& t) {
    for (size_t i = 0; i < 80; ++i) test::set_value(t.at(kDown), i, 0);
    for (size_t i = 0; i < t.at("model.layers.0.mlp.up_proj.weight").data.size() / 4; ++i)
      test::set_value(t.at("model.layers.0.mlp.up_proj.weight"), i, 0);
  });
  for (const char* scheme : {"int8", "int8-tensor", "int4-g128"}) {
    EXPECT_TRUE(quantize(model, scheme).bad.empty()) << scheme;
    for (const auto& [name, tensor] : test::read_tensors(temp_ / "out"))
      if (name.ends_with(".weight_scale")) {
        for (float scale : test::values_of(tensor)) ASSERT_GT(scale, 0) << name;
      }
    std::filesystem::remove_all(temp_ / "out");
  }
}

}  // namespace
}  // namespace codecllm
