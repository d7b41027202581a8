// SPDX-License-Identifier: Apache-2.0
#include "quant/verify.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/rng.h"
#include "quant/calibrated.h"
#include "quant/convert.h"
#include "quant/quantize.h"

namespace codecllm {
namespace {

using test::Tensors;

// A quantized model whose tensors can be changed.
class Verify : public ::testing::Test {
 protected:
  void make(const char* model, const char* scheme) {
    std::filesystem::remove_all(temp_ / "q");
    source_ = test::model_data(model);
    quantize_checkpoint(test::two_threads(), source_, temp_ / "q", {.scheme = scheme_preset(scheme)});
    std::filesystem::remove(temp_ / "q/codecllm_checksums.json");  // what is changed here must be noticed without it
    tensors_ = test::read_tensors(temp_ / "q");
  }

  VerifyResult check(const Tensors& tensors, bool compared) {
    test::write_tensors(temp_ / "q/model.safetensors", tensors);
    const Checkpoint reference(source_), checkpoint(temp_ / "q");
    return verify(test::two_threads(), checkpoint, compared ? &reference : nullptr);
  }

  // The complaints joined.
  std::string complaints(const Tensors& tensors, bool compared) {
    std::string text;
    for (const std::string& bad : check(tensors, compared).bad) text += bad + "\n";
    return text;
  }

  test::TempDirectory temp_;
  std::string source_;
  Tensors tensors_;
};

TEST_F(Verify, WhatWasJustWrittenIsGood) {
  for (const char* model : {"llama", "llama-bf16", "llama-f16"})
    for (const char* scheme : {"int8", "int8-tensor", "int8-g128", "int4-g128", "bf16", "f16", "f32"}) {
      make(model, scheme);
      for (bool compared : {false, true}) {
        const VerifyResult r = check(tensors_, compared);
        EXPECT_TRUE(r.bad.empty()) << model << " " << scheme << ": " << r.bad[0];
        EXPECT_EQ(r.tensors, static_cast<int64_t>(tensors_.size()));
        EXPECT_EQ(r.bytes, Checkpoint(temp_ / "q").total_bytes());
        EXPECT_EQ(r.layers.size(), scheme_preset(scheme).weights ? 14u : 0u);
      }
    }
}

TEST_F(Verify, EveryFlippedBitOfAPlainTensorIsNoticed) {
  Rng rng(1);
  for (const char* scheme : {"int8", "f32", "f16"}) {
    make("llama-bf16", scheme);
    for (int i = 0; i < 60; ++i) {
      auto it = tensors_.begin();
      do std::advance(it = tensors_.begin(), static_cast<ptrdiff_t>(rng.below(tensors_.size())));
      while (it->first.find("weight_") != std::string::npos);
      Tensors changed = tensors_;
      auto& data = changed.at(it->first).data;
      const uint64_t bit = rng.below(8 * data.size());
      data[bit / 8] ^= std::byte(1 << bit % 8);
      EXPECT_NE(complaints(changed, true).find(it->first), std::string::npos)
          << scheme << " " << it->first << " bit " << bit;
    }
  }
}

TEST_F(Verify, ScalesThatCannotBeAreNamed) {
  const std::string layer = "model.layers.1.self_attn.v_proj";
  for (const char* model : {"llama", "llama-bf16", "llama-f16"})
    for (const char* scheme : {"int8", "int8-tensor", "int4-g128"}) {
      make(model, scheme);
      for (float bad :
           {0.0f, -0.0f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
        for (bool compared : {false, true}) {
          Tensors changed = tensors_;
          test::set_value(changed.at(layer + ".weight_scale"), 0, bad);
          EXPECT_NE(complaints(changed, compared).find(layer + ": row 0"), std::string::npos)
              << scheme << " " << bad;
        }
    }
}

TEST_F(Verify, PlainValuesThatAreNotFiniteAreNamed) {
  make("llama", "int8");
  for (const char* name : {"model.norm.weight", "lm_head.weight"}) {
    Tensors changed = tensors_;
    test::set_value(changed.at(name), 11, std::numeric_limits<float>::quiet_NaN());
    for (bool compared : {false, true})
      EXPECT_NE(complaints(changed, compared).find(name), std::string::npos);
    EXPECT_NE(complaints(changed, false).find("element 11"), std::string::npos);
    EXPECT_NE(complaints(changed, true).find("is not finite"), std::string::npos);  // and not too large: the source is small
  }
}

TEST_F(Verify, MissingAndForeignTensorsAreNamed) {
  make("llama", "int8");
  Tensors changed = tensors_;
  changed.erase("model.norm.weight");
  EXPECT_NE(complaints(changed, true).find("model.norm.weight"), std::string::npos);
  for (const char* part : {".weight_scale", ".weight_shape"}) {
    changed = tensors_;
    changed.erase("model.layers.0.mlp.up_proj" + std::string(part));
    EXPECT_NE(complaints(changed, false).find("model.layers.0.mlp.up_proj"), std::string::npos) << part;
  }
  changed = tensors_;
  changed["foreign.weight"] = test::make_tensor("foreign.weight", DType::f32, {1}, {1});
  EXPECT_NE(complaints(changed, true).find("foreign.weight"), std::string::npos);
}

TEST_F(Verify, AnotherModelsWeightsAreNoticed) {
  for (const char* scheme : {"int8", "int8-coded"}) {
    make("llama", scheme);
    const std::string original = source_, whole = temp_ / (std::string("whole-") + scheme);
    quantize_checkpoint(test::two_threads(), source_, whole, {.scheme = scheme_preset(scheme)});
    const auto every = [&](size_t stride) {
      return test::edited_model("llama", temp_ / (scheme + std::to_string(stride)), [&](Tensors& tensors) {
        for (auto& [name, tensor] : tensors)
          for (size_t i = 0; i < tensor.data.size() / 4; i += stride) test::set_value(tensor, i, -test::values_of(tensor)[i]);
      });
    };
    const auto against = [&](const std::string& other) {
      const Checkpoint reference(other);
      return verify(test::two_threads(), Checkpoint(whole), &reference);
    };
    const VerifyResult near = against(every(16));
    EXPECT_FALSE(near.bad.empty()) << scheme;
    EXPECT_FALSE(near.unlike_reference) << scheme;
    for (const std::string& other : {every(2), test::model_data("llama-bf16")}) {  // unlike weights; other shapes
      EXPECT_TRUE(against(other).unlike_reference) << scheme << " " << other;
      source_ = other;
      const VerifyResult unsure = check(tensors_, true);  // without checksums the damage may be here
      EXPECT_GE(unsure.bad.size(), 14u) << scheme << " " << other;
      EXPECT_FALSE(unsure.unlike_reference) << scheme << " " << other;
    }
    source_ = original;
  }
}

// Damage of every layer is not taken for a wrong reference, and is told by its cause.
TEST_F(Verify, ScalesOfOtherCodesAreNamed) {
  for (const char* scheme : {"int8", "int4-g128", "int2-g32", "fp8-channel", "int8-coded"})
    for (const float factor : {1.7f, 4.0f}) {
      make("llama", scheme);
      for (auto& [name, tensor] : tensors_) {
        if (!name.ends_with(".weight_scale")) continue;
        const std::vector<float> scales = test::values_of(tensor);
        for (size_t i = 0; i < scales.size(); ++i) test::set_value(tensor, i, factor * scales[i]);
      }
      const VerifyResult r = check(tensors_, true);
      EXPECT_FALSE(r.unlike_reference);
      EXPECT_GE(r.bad.size(), 14u) << scheme << " " << factor;  // coded: and lm_head
      for (const std::string& bad : r.bad) EXPECT_NE(bad.find("times as large"), std::string::npos) << bad;
    }
}

// GPTQ's rows may stray further from the weights than the weights are large, where their inputs are small.
TEST(VerifyGptq, FewBitsAreGood) {
  const test::TempDirectory temp;
  test::calibrated_model(temp, "llama-bf16");
  for (const char* scheme : {"int2-g32", "int3"}) {
    QuantizeOptions options = {.scheme = scheme_preset(scheme)};
    options.algorithm = {.name = "gptq", .calibration = test::few_samples(temp)};
    EXPECT_TRUE(quantize_checkpoint(test::two_threads(), temp / "m", temp / scheme, options).bad.empty());
  }
}

// Scales and codes that are not each other's, in a model that tells how it was made and in one of somebody else.
TEST_F(Verify, ForeignScalesAndCodesAreNoticedWithAndWithoutProvenance) {
  for (const char* scheme : {"int4-g128", "int8", "w8a8", "fp8-channel", "fp8-block"})
    for (const bool known : {true, false}) {
      make("llama-bf16", scheme);
      if (!known) std::filesystem::remove(temp_ / "q/codecllm_quantization.json");
      EXPECT_EQ(complaints(tensors_, true), "") << scheme << known;
      for (const char* damage : {"a quarter", "a thousandth", "random codes", "half the scales"}) {
        if (damage == std::string("half the scales") && (known || scheme == std::string("int4-g128") || scheme == std::string("fp8-block"))) continue;
        Tensors changed = tensors_;
        Rng rng(3);
        for (auto& [name, tensor] : changed) {
          const bool codes = name.ends_with(".weight_packed") || tensor.decl.dtype == DType::i8 || tensor.decl.dtype == DType::f8_e4m3;
          if (damage == std::string("random codes")) {
            if (codes)
              for (std::byte& b : tensor.data) b = static_cast<std::byte>(rng.below(0x7f));
          } else if (name.ends_with(".weight_scale")) {
            const std::vector<float> values = test::values_of(tensor);
            for (size_t i = 0; i < values.size(); ++i) test::set_value(tensor, i, values[i] * (damage == std::string("a quarter") ? 0.25f : damage == std::string("a thousandth") ? 0.001f : i % 2 == 0 ? 1 : 1e-6f));
          }
        }
        EXPECT_EQ(check(changed, true).bad.size(), 14u) << scheme << known << damage;
      }
    }
}

// Other layouts have other types of scales, and other groups; and of coarse codes comes nothing finer.
TEST(VerifyConverted, IsGoodBesideTheOriginal) {
  const test::TempDirectory temp;
  for (const char* model : {"llama-bf16", "llama-f16"})
    for (const char* scheme : {"int4-g32", "int8", "int4-g32-asym", "int3-g32"}) {
      const std::string source = temp / (std::string(model) + scheme);
      quantize_checkpoint(test::two_threads(), test::model_data(model), source, {.scheme = scheme_preset(scheme)});
      const Checkpoint reference(test::model_data(model));
      for (const std::string format : {"gptq", "awq", "fp8-block", "compressed-tensors", "codecllm"})
        for (const bool known : {true, false}) {
          const std::string out = source + format + (known ? "" : "unknown");
          if (format == "gptq" && scheme == std::string("int3-g32")) continue;  // 3 bits do not fill words there
          if (format == "fp8-block" && scheme == std::string("int3-g32") && !known) continue;  // as many bits of error are damage
          convert_checkpoint(test::two_threads(), source, out, {.format = format});
          if (!known) std::filesystem::remove(out + "/codecllm_quantization.json");
          const VerifyResult result = verify(test::two_threads(), Checkpoint(out), &reference);
          EXPECT_TRUE(result.bad.empty()) << out << testing::PrintToString(result.bad);
        }
    }
}

// What no provenance tells: the hint counts these complaints, and no other.
TEST(VerifySmoothed, WithoutItsFactorsEverythingIsUnlike) {
  const test::TempDirectory temp;
  test::calibrated_model(temp, "llama-bf16", [](Tensors& tensors) {  // channels that are worth smoothing
    for (const char* name : {"model.layers.0.input_layernorm.weight", "model.layers.1.post_attention_layernorm.weight"})
      for (size_t i = 0; i < 8; ++i) test::set_value(tensors.at(name), i, 60);
  });
  QuantizeOptions options = {.scheme = scheme_preset("w8a8")};
  options.algorithm = {.name = "smoothquant", .calibration = test::few_samples(temp)};
  quantize_checkpoint(test::two_threads(), temp / "m", temp / "q", options);
  const Checkpoint reference(temp / "m");
  for (const char* format : {"compressed-tensors", "codecllm", "fp8-block", "gptq"}) {  // takes the factors along
    convert_checkpoint(test::two_threads(), temp / "q", temp / format, {.format = format});
    const VerifyResult result = verify(test::two_threads(), Checkpoint(temp / format), &reference);
    EXPECT_TRUE(result.bad.empty()) << format << testing::PrintToString(result.bad);
  }
  std::filesystem::remove(temp / "q/codecllm_quantization.json");
  std::filesystem::remove(temp / "q/codecllm_checksums.json");
  const VerifyResult unknown = verify(test::two_threads(), Checkpoint(temp / "q"), &reference);
  EXPECT_FALSE(unknown.bad.empty());
  EXPECT_EQ(unknown.unlike, static_cast<int64_t>(unknown.bad.size()));
  Tensors tensors = test::read_tensors(temp / "q");
  test::set_value(tensors.at("model.layers.0.mlp.up_proj.weight_scale"), 3, 0);
  test::write_tensors(temp / "q/model.safetensors", tensors);
  const VerifyResult damaged = verify(test::two_threads(), Checkpoint(temp / "q"), &reference);
  EXPECT_LT(damaged.unlike, static_cast<int64_t>(damaged.bad.size()));
}

TEST(VerifyGptq, ZerosAreNot) {
  const test::TempDirectory temp;
  test::calibrated_model(temp, "llama-bf16");
  QuantizeOptions options = {.scheme = scheme_preset("int4")};
  options.algorithm = {.name = "gptq", .calibration = test::few_samples(temp)};
  quantize_checkpoint(test::two_threads(), temp / "m", temp / "q", options);
  std::filesystem::remove(temp / "q/codecllm_checksums.json");
  Tensors tensors = test::read_tensors(temp / "q");
  auto& codes = tensors.at("model.layers.1.mlp.up_proj.weight_packed").data;
  std::fill(codes.begin(), codes.end(), std::byte{0x88});
  test::write_tensors(temp / "q/model.safetensors", tensors);
  const Checkpoint checkpoint(temp / "q"), reference(temp / "m");
  const VerifyResult result = verify(test::two_threads(), checkpoint, &reference);
  ASSERT_EQ(result.bad.size(), 1u);
  EXPECT_NE(result.bad[0].find("up_proj: all weights became zero"), std::string::npos) << result.bad[0];
}

TEST(SqnrFloor, FallsWithTheBitsAndIsNeverReachedByZeros) {
  double last = 0;
  for (int bits = 2; bits <= 8; ++bits) {
    const double floor = sqnr_floor_db({.num_bits = bits});
    EXPECT_GT(floor, last) << bits;
    EXPECT_LT(floor, 6.02 * bits) << bits;
    last = floor;
  }
  EXPECT_NEAR(last, 20.2, 0.1);
}

TEST_F(Verify, ShapesThatAreNotTheReferencesAreNamed) {
  make("llama-bf16", "int4-g128");
  for (int64_t columns : {63, 65, 128, -1, 0}) {
    Tensors changed = tensors_;
    const std::string layer = "model.layers.0.mlp.up_proj";
    std::memcpy(changed.at(layer + ".weight_shape").data.data() + 8, &columns, 8);
    EXPECT_NE(complaints(changed, true).find(layer), std::string::npos) << columns;
  }
}

}  // namespace
}  // namespace codecllm
