// SPDX-License-Identifier: Apache-2.0
// What rounding costs on the model that ships.
#include <gtest/gtest.h>

#include "eval/perplexity.h"
#include "model/model_tokenizer.h"
#include "quant/quantize.h"
#include "quant/support.h"

namespace codecllm {
namespace {

TEST(EmbeddedModel, TellsEightBitsFromFour) {
  if (test::kSanitized) GTEST_SKIP() << "a whole model, for its perplexity";
  const test::TempDirectory dir;
  const std::string source = test::source_path("models/codecllm-stories");
  std::vector<int32_t> tokens = load_tokenizer(source).encode(read_file(source + "/heldout.txt"), true, false);
  tokens.resize(12000);
  const auto perplexity_of = [&](const std::string& model) {
    return perplexity(load_model(test::two_threads(), model), tokens, {.context = 512, .stride = 512}).perplexity;
  };
  const double original = perplexity_of(source);
  const auto ratio = [&](const char* scheme) {
    quantize_checkpoint(test::two_threads(), source, dir / scheme, {.scheme = scheme_preset(scheme)});
    return perplexity_of(dir / scheme) / original;
  };
  EXPECT_LE(ratio("int8"), 1.002);
  EXPECT_GE(ratio("int4"), 1.05);  // one scale per channel
  EXPECT_GE(ratio("int3"), 1.25);
}

}  // namespace
}  // namespace codecllm
