// SPDX-License-Identifier: Apache-2.0
// Models that lie beside the tree on some machines, and are not part of it.
#include <gtest/gtest.h>

#include <filesystem>

#include "eval/perplexity.h"
#include "model/model_tokenizer.h"
#include "quant/quantize.h"
#include "quant/support.h"

namespace codecllm {
namespace {

std::string beside(const std::string& path) { return test::source_path("../shared/" + path); }

TEST(SharedModels, Int8KeepsThePerplexityOfStories260K) {
  const std::string source = beside("models/stories260K");
  if (!std::filesystem::exists(source) || test::kSanitized) GTEST_SKIP() << "no " << source << ", or sanitizers";
  const test::TempDirectory dir;
  std::vector<int32_t> tokens = load_tokenizer(source).encode(read_file(beside("data/tinystories.txt")), true, false);
  tokens.resize(20000);
  quantize_checkpoint(test::two_threads(), source, dir / "q", {.scheme = scheme_preset("int8")});
  const DecoderModel original = load_model(test::two_threads(), source);
  const PerplexityResult result = perplexity(load_model(test::two_threads(), dir / "q"), tokens, {}, &original);
  EXPECT_LE(result.perplexity / result.reference_perplexity, 1.002);
}

TEST(SharedModels, AFamilyThatIsNotThereIsRefusedByName) {
  const std::string source = beside("models/shakespeare-gpt2");
  if (!std::filesystem::exists(source)) GTEST_SKIP() << "no " << source;
  const test::TempDirectory dir;
  const std::string message =
      test::error_of([&] { quantize_checkpoint(test::two_threads(), source, dir / "q", {.scheme = scheme_preset("int8")}); }, ErrorCode::unsupported);
  EXPECT_NE(message.find("GPT2"), std::string::npos) << message;
  EXPECT_FALSE(std::filesystem::exists(dir / "q"));
}

}  // namespace
}  // namespace codecllm
