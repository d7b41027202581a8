// SPDX-License-Identifier: Apache-2.0
// What --compute changes.
#include "model/compute.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "codecllm/error.h"
#include "model/forward.h"
#include "model/synthetic.h"

namespace codecllm {
namespace {

ModelSpec small_spec() {
  ModelSpec spec = shape_spec("tinyllama-1.1b");
  spec.hidden = 128;
  spec.intermediate = 192;
  spec.layers = 2;
  spec.heads = 4;
  spec.kv_heads = 2;
  spec.head_dim = 32;
  spec.rope.rotary = 32;
  spec.vocab = 200;
  return spec;
}

std::vector<float> logits_of(const DecoderModel& model) {
  KvCache cache(model.spec, KvType::f32, 8);
  Forward forward(model, cache);
  KvSequence sequence;
  cache.grow(sequence, 5);
  std::vector<BatchRow> rows;
  for (int64_t i = 0; i < 5; ++i) rows.push_back({static_cast<int32_t>(17 * i + 3), &sequence, i, true});
  const auto logits = forward.run(rows);
  return {logits.begin(), logits.end()};
}

TEST(Compute, BytesAreCloseToWordsAndNotThem) {
  const Context context(ContextOptions{.threads = 1});
  DecoderModel model = synthetic_model(context, small_spec(), scheme_preset("int8"));
  EXPECT_EQ(compute_of(model.weights), "a16");
  const auto words = logits_of(model);
  set_compute(model.weights, "a16");
  EXPECT_EQ(logits_of(model), words);
  set_compute(model.weights, "a8");
  EXPECT_EQ(compute_of(model.weights), "a8");
  const auto bytes = logits_of(model);
  double noise = 0, power = 0;
  for (size_t i = 0; i < words.size(); ++i) {
    noise += std::pow(words[i] - bytes[i], 2);
    power += std::pow(words[i], 2);
  }
  // A step of 1/127 of a row's largest value, here about 3 standard deviations, is noise of -44 dB for each product, and
  // fifteen products follow one another.
  EXPECT_GT(noise, 0);
  EXPECT_LT(noise / power, 15 * std::pow(10, -4.0));
}

TEST(Compute, FloatingPointStaysAsItIs) {
  const Context context(ContextOptions{.threads = 1});
  DecoderModel model = synthetic_model(context, small_spec(), scheme_preset("bf16"));
  const auto before = logits_of(model);
  set_compute(model.weights, "a8");
  EXPECT_EQ(compute_of(model.weights), "a16");
  EXPECT_EQ(logits_of(model), before);
  EXPECT_THROW(set_compute(model.weights, "a4"), Error);
}

}  // namespace
}  // namespace codecllm
