// SPDX-License-Identifier: Apache-2.0
// What rounding costs on the model that ships.
#include <gtest/gtest.h>

#include "eval/perplexity.h"
#include "model/model_tokenizer.h"
#include "quant/quantize.h"
#include "quant/support.h"

namespace codecllm {
namespace {

class EmbeddedModel : public ::testing::Test {
 protected:
  void SetUp() override {
    if (test::kSanitized) GTEST_SKIP() << "a whole model, for its perplexity";
  }

  static constexpr PerplexityOptions kWindows = {.context = 512, .stride = 512};

  std::vector<int32_t> tokens_of(const std::string& text, size_t count) const {
    std::vector<int32_t> tokens = load_tokenizer(source_).encode(text, true, false);
    tokens.resize(count);
    return tokens;
  }

  DecoderModel made(const QuantizeOptions& options) const {
    const std::string out = dir_ / (options.scheme.name + options.algorithm.name);
    quantize_checkpoint(test::two_threads(), source_, out, options);
    return load_model(test::two_threads(), out);
  }

  const test::TempDirectory dir_;
  const std::string source_ = test::source_path("models/codecllm-stories"), text_ = read_file(source_ + "/heldout.txt");
};

// Perplexities over that of the original.
class EmbeddedRatio : public EmbeddedModel {
 protected:
  void read(size_t count) {
    tokens_ = tokens_of(text_, count);
    original_ = perplexity(load_model(test::two_threads(), source_), tokens_, kWindows).perplexity;
  }
  double ratio(const char* scheme) const { return perplexity(made({.scheme = scheme_preset(scheme)}), tokens_, kWindows).perplexity / original_; }

 private:
  std::vector<int32_t> tokens_;
  double original_ = 0;
};

TEST_F(EmbeddedRatio, TellsEightBitsFromFour) {
  read(12000);
  EXPECT_LE(ratio("int8"), 1.002);
  EXPECT_GE(ratio("int4"), 1.05);  // one scale per channel
  EXPECT_GE(ratio("int3"), 1.25);
}

TEST_F(EmbeddedRatio, BearsActivationsOfEightBits) {
  read(6000);
  EXPECT_LE(ratio("w8a8"), 1.01);
  EXPECT_LE(ratio("fp8-block"), 1.01);
}

// Calibrated on the first half of the text, measured on the second.
class EmbeddedHalves : public EmbeddedModel {
 protected:
  PerplexityResult scored(const char* scheme, const char* algorithm) {
    const size_t middle = text_.find('\n', text_.size() / 2);
    dir_.write("calibrate", text_.substr(0, middle));
    QuantizeOptions options = {.scheme = scheme_preset(scheme)};
    options.algorithm.name = algorithm;
    options.algorithm.calibration = {.text = dir_ / "calibrate", .samples = 12};
    const DecoderModel original = load_model(test::two_threads(), source_);
    return perplexity(made(options), tokens_of(text_.substr(middle + 1), 3000), kWindows, &original);
  }
};

TEST_F(EmbeddedHalves, GptqAndAwqDivergeLessThanRounding) {
  const double rtn = scored("int4-g128", "rtn").kl_mean;
  EXPECT_LT(scored("int4-g128", "gptq").kl_mean, rtn);
  EXPECT_LT(scored("int4-g128", "awq").kl_mean, rtn);
}

// One scale per channel, where rounding costs so much that 3000 tokens tell the ratios apart.
TEST_F(EmbeddedHalves, GptqIsBelowRoundingInPerplexityToo) {
  const PerplexityResult rtn = scored("int4", "rtn"), gptq = scored("int4", "gptq");
  EXPECT_LT(gptq.kl_mean, rtn.kl_mean);
  EXPECT_LT(gptq.perplexity, rtn.perplexity);
}

}  // namespace
}  // namespace codecllm
