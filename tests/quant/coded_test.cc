// SPDX-License-Identifier: Apache-2.0
// Entropy-coded checkpoints: the same logits as the uncoded ones, bit for bit, and damage that is noticed.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "eval/inspect.h"
#include "model/forward.h"
#include "paths.h"
#include "quant/convert.h"
#include "quant/quantize.h"
#include "quant/support.h"

namespace codecllm {
namespace {

namespace fs = std::filesystem;

class CodedCheckpoint : public ::testing::Test {
 protected:
  CodedCheckpoint() : directory_(fs::temp_directory_path() / ("codecllm_coded_" + std::to_string(::getpid()))) {
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  ~CodedCheckpoint() override { fs::remove_all(directory_); }

  void SetUp() override {
    if (test::kSanitized) GTEST_SKIP() << "a whole model; smaller ones are coded in other tests";
  }

  std::string make(const std::string& scheme) { return make(scheme, scheme); }

  std::string make(const std::string& name, const std::string& scheme) {
    const std::string out = directory_ / name;
    result_ = quantize_checkpoint(context_, model_, out, {.scheme = scheme_preset(scheme)});
    return out;
  }

  std::vector<float> logits(const std::string& model) {
    DecoderModel loaded = load_model(context_, model);
    for (BlockWeights& b : loaded.weights.blocks)  // fp8-channel asks for 8-bit activations
      for (Linear* l : {&b.q, &b.k, &b.v, &b.o, &b.gate, &b.up, &b.down}) l->weight.set_activation({});
    KvCache cache(loaded.spec, KvType::f16, 64);
    Forward forward(loaded, cache);
    KvSequence sequence;
    cache.grow(sequence, 5);
    std::vector<BatchRow> rows;
    for (int i = 0; i < 5; ++i) rows.push_back({3 + 7 * i, &sequence, i, true});
    const auto got = forward.run(rows);
    return {got.begin(), got.end()};
  }

  Context context_{{.threads = 2}};
  const std::string model_ = test::source_path("models/codecllm-stories");
  const fs::path directory_;
  QuantizeResult result_;
};

TEST_F(CodedCheckpoint, LosslessIsSmallerAndHasTheSameLogits) {
  const std::string coded = make("lossless");
  EXPECT_LT(static_cast<double>(result_.weight_bytes), 0.72 * static_cast<double>(result_.source_bytes));
  EXPECT_TRUE(result_.bad.empty());
  EXPECT_EQ(logits(coded), logits(model_));
  EXPECT_EQ(load_model(context_, coded).scheme, "lossless");
  const InspectResult inspected = inspect(context_, Checkpoint(coded));
  ASSERT_EQ(inspected.problems.size(), 1u);
  EXPECT_EQ(inspected.problems[0].text, "only codecllm loads entropy-coded weights");
  EXPECT_NEAR(inspected.bits_per_weight, result_.bits_per_weight, 0.2);
}

TEST_F(CodedCheckpoint, CodedIntegersHaveTheLogitsOfPlainOnes) {
  const std::string coded = make("int8-coded"), plain = make("int8");
  EXPECT_EQ(logits(coded), logits(plain));
  // The entropy that inspect shows is that of the same codes stored plainly, but for what their signs tell, and the coded
  // size is near it.
  const InspectResult of_coded = inspect(context_, Checkpoint(coded)), of_plain = inspect(context_, Checkpoint(plain));
  int compared = 0;
  for (const TensorReport& t : of_coded.tensors) {
    if (!t.name.ends_with("_proj.weight_coded")) continue;
    const std::string module = t.name.substr(0, t.name.size() - std::string("weight_coded").size());
    const auto twin = std::find_if(of_plain.tensors.begin(), of_plain.tensors.end(), [&](const TensorReport& p) { return p.name == module + "weight_packed"; });
    ASSERT_NE(twin, of_plain.tensors.end()) << module;
    ASSERT_TRUE(t.coded.has_value());
    EXPECT_FALSE(twin->coded.has_value());
    EXPECT_GE(t.entropy_bits, twin->entropy_bits - 1e-9) << t.name;
    EXPECT_LE(t.entropy_bits, twin->entropy_bits + 0.02) << t.name;
    EXPECT_DOUBLE_EQ(t.coded->bits_per_weight, 8.0 * static_cast<double>(t.bytes) / static_cast<double>(t.coded->weights));
    EXPECT_GT(t.coded->bits_per_weight, t.entropy_bits);
    EXPECT_LT(t.coded->bits_per_weight, t.entropy_bits + 0.5 + 8.0 * 1024 / static_cast<double>(t.coded->weights)) << t.name;  // header, records, slack
    ++compared;
  }
  EXPECT_GT(compared, 10);
}

TEST_F(CodedCheckpoint, CodedFloatsHaveTheLogitsOfPlainOnes) {
  const std::string coded = make("fp8-coded"), plain = make("fp8-channel");
  EXPECT_EQ(logits(coded), logits(plain));
  EXPECT_LT(fs::file_size(coded + "/model.safetensors"), fs::file_size(plain + "/model.safetensors"));
}

TEST_F(CodedCheckpoint, ARateIsKept) {
  const std::string out = directory_ / "rate";
  const QuantizeResult result = quantize_checkpoint(
      context_, model_, out, {.scheme = scheme_preset("coded-5"), .selection = {.only = {"model.layers.0.mlp.*"}, .ignore = {}}});
  EXPECT_LE(result.bits_per_weight, 5.0);
  EXPECT_EQ(result.layers.size(), 3u);
  for (const LayerReport& layer : result.layers) EXPECT_GT(layer.sqnr_db, 24) << layer.name;
  EXPECT_EQ(logits(out).size(), logits(model_).size());
}

TEST_F(CodedCheckpoint, DamageIsRefusedWhenLoadedAndNamedWhenVerified) {
  const std::string coded = make("lossless"), file = coded + "/model.safetensors";
  {
    std::fstream f(file, std::ios::in | std::ios::out | std::ios::binary);
    f.seekg(static_cast<std::streamoff>(fs::file_size(file) / 2));
    const auto at = f.tellg();
    const int byte = f.get();
    f.seekp(at);
    f.put(static_cast<char>(byte ^ 16));
  }
  EXPECT_THROW(load_model(context_, coded), Error);
  const VerifyResult verified = verify(context_, Checkpoint(coded), nullptr);
  EXPECT_EQ(verified.bad.size(), 1u);
}

// Several files, stopped at several places: the bytes of a call that never stopped.
TEST_F(CodedCheckpoint, IsTakenUpAfterAnInterruption) {
  const QuantizeOptions options = {.scheme = scheme_preset("lossless"), .shard_bytes = 3 << 20};
  const std::string whole = directory_ / "whole", out = directory_ / "out";
  quantize_checkpoint(context_, model_, whole, options);
  std::string second;
  for (const auto& [name, text] : test::files_of(whole))
    if (name.starts_with("model-00002-of-")) second = name;
  ASSERT_NE(second, "");
  EXPECT_TRUE(fs::exists(whole + "/model.safetensors.index.json"));
  EXPECT_EQ(logits(whole), logits(model_));
  for (const double stop : {0.3, 0.6, 0.9}) {
    const auto until = [&](double done, std::string_view) { return done < stop; };
    test::error_of([&] { quantize_checkpoint(context_, model_, out, options, until); }, ErrorCode::interrupted);
    EXPECT_FALSE(fs::exists(out));
    EXPECT_TRUE(quantize_checkpoint(context_, model_, out, options).resumed);
    EXPECT_EQ(test::difference(out, whole), "");
    EXPECT_FALSE(fs::exists(out + ".partial"));
    fs::remove_all(out);
  }
  // What was stopped while its files were given their names.
  const auto until = [&](double done, std::string_view) { return done < 0.9; };
  test::error_of([&] { quantize_checkpoint(context_, model_, out, options, until); }, ErrorCode::interrupted);
  fs::rename(out + ".partial/" + second, out + ".partial/growing-1.safetensors");
  EXPECT_TRUE(quantize_checkpoint(context_, model_, out, options).resumed);
  EXPECT_EQ(test::difference(out, whole), "");
}

TEST_F(CodedCheckpoint, ADirectoryOfSomebodyElseIsLeftAlone) {
  const fs::path partial = directory_ / "out.partial";
  fs::create_directories(partial);
  write_file_atomically(partial / "thesis.txt", "mine");
  const std::string message = test::error_of([&] { make("out", "lossless"); }, ErrorCode::bad_call);
  EXPECT_NE(message.find("remove it"), std::string::npos);
  EXPECT_EQ(read_file(partial / "thesis.txt"), "mine");
}

TEST_F(CodedCheckpoint, GgufSourcesAreCoded) {
  const std::string gguf = test::source_path("tests/io/data/gguf/llama.gguf"), out = directory_ / "gguf";
  // Its quantized tensors are refused as those of every quantized source; a plain one is coded.
  test::error_of([&] { quantize_checkpoint(context_, gguf, out, {.scheme = scheme_preset("lossless")}); }, ErrorCode::bad_call);
  EXPECT_FALSE(fs::exists(out));
  const std::string plain = directory_ / "plain.gguf";
  convert_checkpoint(context_, model_, plain, {.format = "gguf"});
  const QuantizeResult result = quantize_checkpoint(context_, plain, out, {.scheme = scheme_preset("lossless")});
  EXPECT_TRUE(result.bad.empty());
  EXPECT_EQ(logits(out), logits(plain));
  EXPECT_TRUE(fs::exists(out + "/tokenizer.json"));
}

TEST_F(CodedCheckpoint, WhatIsNoLongerThereIsSaid) {
  const fs::path broken = directory_ / "broken";
  test::edited_model("llama-bf16", broken, [](test::Tensors& tensors) { tensors.erase("model.layers.1.mlp.up_proj.weight"); });
  const std::string message = test::error_of(
      [&] { quantize_checkpoint(context_, broken, directory_ / "out", {.scheme = scheme_preset("lossless")}); }, ErrorCode::bad_input);
  EXPECT_NE(message.find("model.layers.1.mlp.up_proj.weight"), std::string::npos);
  EXPECT_FALSE(fs::exists(directory_ / "out.partial"));
}

TEST_F(CodedCheckpoint, ASchemeThatIsNoTextIsRefused) {
  const std::string coded = make("lossless");
  Json config = read_json_file(coded + "/config.json");
  config["quantization_config"]["scheme"] = 7;
  write_file_atomically(coded + "/config.json", dump_json(config));
  const std::string message = test::error_of([&] { load_model(context_, coded); }, ErrorCode::bad_input);
  EXPECT_NE(message.find("scheme"), std::string::npos);
}

}  // namespace
}  // namespace codecllm
