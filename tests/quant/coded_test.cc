// SPDX-License-Identifier: Apache-2.0
// Entropy-coded checkpoints: the same logits as the uncoded ones, bit for bit, and damage that is noticed.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "eval/inspect.h"
#include "model/forward.h"
#include "paths.h"
#include "quant/quantize.h"

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

  std::string make(const std::string& scheme) {
    const std::string out = directory_ / scheme;
    result_ = quantize_checkpoint(context_, model_, out, {.scheme = scheme_preset(scheme)});
    return out;
  }

  std::vector<float> logits(const std::string& model) {
    const DecoderModel loaded = load_model(context_, model);
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
  EXPECT_TRUE(inspected.problems.empty()) << inspected.problems.front().text;
  EXPECT_NEAR(inspected.bits_per_weight, result_.bits_per_weight, 0.2);
}

TEST_F(CodedCheckpoint, CodedIntegersHaveTheLogitsOfPlainOnes) {
  const std::string coded = make("int8-coded"), plain = make("int8");
  EXPECT_EQ(logits(coded), logits(plain));
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

TEST_F(CodedCheckpoint, AnInterruptedCallLeavesNothing) {
  const std::string out = directory_ / "stopped";
  EXPECT_THROW(quantize_checkpoint(context_, model_, out, {.scheme = scheme_preset("lossless")},
                                   [](double done, std::string_view) { return done < 0.2; }),
               Error);
  EXPECT_FALSE(fs::exists(out));
  EXPECT_FALSE(fs::exists(out + ".partial"));
}

}  // namespace
}  // namespace codecllm
