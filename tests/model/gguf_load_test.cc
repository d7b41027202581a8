// SPDX-License-Identifier: Apache-2.0
// A GGUF file runs: its logits are those of the same weights in Hugging Face's layout.
#include <gtest/gtest.h>

#include <filesystem>

#include "format/plain_float.h"
#include "io/safetensors_writer.h"
#include "model/forward.h"
#include "paths.h"
#include "tiers.h"

namespace codecllm {
namespace {

std::vector<float> logits_of(const Context& context, const std::string& path) {
  const DecoderModel model = load_model(context, path);
  KvCache cache(model.spec, KvType::f32, 8);
  KvSequence sequence;
  cache.grow(sequence, 8);
  Forward forward(model, cache);
  std::vector<BatchRow> rows;
  for (int32_t i = 0; i < 8; ++i) rows.push_back({3 + 7 * i, &sequence, i, true});
  const auto logits = forward.run(rows);
  return {logits.begin(), logits.end()};
}

TEST(GgufLoad, LogitsAreThoseOfTheSameWeights) {
  Context context({.threads = 1, .isa = test::float_isa()});
  const std::string data = test::source_path("tests/io/data/gguf/"), directory = testing::TempDir() + "gguf-load";
  std::filesystem::create_directories(directory);
  std::filesystem::copy_file(data + "llama.safetensors", directory + "/model.safetensors", std::filesystem::copy_options::overwrite_existing);
  std::filesystem::copy_file(test::source_path("tests/model/data/llama/config.json"), directory + "/config.json",
                             std::filesystem::copy_options::overwrite_existing);
  const std::vector<float> expected = logits_of(context, directory), got = logits_of(context, data + "llama.gguf");
  std::filesystem::remove_all(directory);
  ASSERT_EQ(got.size(), expected.size());
  // Activations meet integer weights as 16-bit integers, exact to 2^-15.9 of a row's largest; ten layers in a row.
  double largest = 0, worst = 0;
  for (float v : expected) largest = std::max(largest, std::fabs(static_cast<double>(v)));
  for (size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::fabs(static_cast<double>(got[i]) - expected[i]));
  EXPECT_LE(worst, 10 * largest / 32512);
  EXPECT_GT(largest, 0);
}

}  // namespace
}  // namespace codecllm
