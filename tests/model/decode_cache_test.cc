// SPDX-License-Identifier: Apache-2.0
// Weights kept decoded give the same bits as those decoded inside the product, and take no more memory than was allowed.
#include "model/decode_cache.h"

#include <gtest/gtest.h>

#include "model/compute.h"
#include "model/forward.h"
#include "model/model_test.h"
#include "model/synthetic.h"

namespace codecllm {
namespace {

// Rows and columns that fill neither the last panel nor the last block.
ModelSpec odd_spec() {
  ModelSpec spec = shape_spec("tinyllama-1.1b");
  spec.hidden = 72, spec.intermediate = 150, spec.layers = 1, spec.heads = 4, spec.kv_heads = 2, spec.head_dim = 18, spec.vocab = 101;
  spec.rope.rotary = 18;
  return spec;
}

std::vector<float> logits_of_pieces(const DecoderModel& model) {
  KvCache cache(model.spec, KvType::f16, 64);
  KvSequence sequence;
  Forward forward(model, cache);
  std::vector<float> logits;
  for (const int64_t count : {9, 1, 3}) {
    std::vector<BatchRow> rows;
    const int64_t from = sequence.length;
    cache.grow(sequence, count);
    for (int64_t i = 0; i < count; ++i) rows.push_back({static_cast<int32_t>((from + i) * 17 % model.spec.vocab), &sequence, from + i, true});
    const auto out = forward.run(rows);
    logits.insert(logits.end(), out.begin(), out.end());
  }
  return logits;
}

class DecodeCacheOf : public ::testing::TestWithParam<std::string> {
 protected:
  DecoderModel model(const std::string& compute) const {
    DecoderModel made = synthetic_model(context_, odd_spec(), scheme_preset(GetParam()));
    set_compute(made.weights, compute);
    return made;
  }
  const Context context_{{.threads = 2}};
};

TEST_P(DecodeCacheOf, SameLogitsWithinTheBudget) {
  for (const std::string compute : {"a16", "a8"}) {
    DecoderModel plain = model(compute), all = model(compute), some = model(compute);
    const std::vector<float> expected = logits_of_pieces(plain);
    const size_t coded = plain.weights.bytes();
    EXPECT_EQ(keep_decoded(context_, plain, 0).decoded, 0);
    EXPECT_EQ(keep_decoded(context_, plain, 1).decoded, 0);
    EXPECT_EQ(plain.weights.bytes(), coded);

    const DecodeCache full = keep_decoded(context_, all, size_t{1} << 30);
    EXPECT_EQ(full.coded, 8);
    EXPECT_EQ(full.decoded, 8);
    EXPECT_EQ(logits_of_pieces(all), expected);
    EXPECT_EQ(compute_of(all.weights), compute_of(plain.weights));
    EXPECT_EQ(all.weights.blocks[0].down.weight.view().coded, nullptr);
    EXPECT_NE(all.weights.embedding.view().coded, nullptr) << "no product reads it";

    const size_t budget = compute == "a16" ? full.bytes / 2 : full.bytes - 1;
    const DecodeCache part = keep_decoded(context_, some, budget);
    EXPECT_LE(part.bytes, budget);
    EXPECT_GT(part.decoded, 0);
    EXPECT_LT(part.decoded, part.coded);
    EXPECT_LE(some.weights.bytes(), coded + budget);
    EXPECT_EQ(logits_of_pieces(some), expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Schemes, DecodeCacheOf, ::testing::Values("lossless", "int8-coded", "fp8-coded", "coded-2.5", "coded-4.5"),
                         [](const auto& row) {
                           std::string name = row.param;
                           std::replace_if(name.begin(), name.end(), [](char c) { return std::isalnum(c) == 0; }, '_');
                           return name;
                         });

// Where all save alike, those that are loaded first are kept.
TEST(DecodeCache, FirstInLoadOrder) {
  const Context context({.threads = 1});
  DecoderModel model = synthetic_model(context, odd_spec(), scheme_preset("lossless"));
  for (BlockWeights& b : model.weights.blocks)  // of one layout, therefore of one decoding time
    for (Linear* l : {&b.q, &b.k, &b.v, &b.o, &b.gate, &b.up, &b.down})
      ASSERT_EQ(l->weight.view().coded->shape.digit_bits[0], model.weights.lm_head.view().coded->shape.digit_bits[0]);
  const MatrixView q = model.weights.blocks[0].q.weight.view();
  const DecodeCache cache = keep_decoded(context, model, static_cast<size_t>(q.panels() * q.panel_bytes()));
  EXPECT_EQ(cache.decoded, 1);
  EXPECT_EQ(model.weights.blocks[0].q.weight.view().coded, nullptr);
}

// An embedding that is the head is read by a product.
TEST(DecodeCache, TiedHead) {
  const Context context({.threads = 1});
  DecoderModel model = synthetic_model(context, odd_spec(), scheme_preset("int8-coded"));
  model.spec.tied_head = true;
  model.weights.lm_head = {};
  const std::vector<float> expected = logits_of_pieces(model);
  EXPECT_EQ(keep_decoded(context, model, size_t{1} << 30).decoded, 8);
  EXPECT_EQ(model.weights.embedding.view().coded, nullptr);
  EXPECT_EQ(logits_of_pieces(model), expected);
}

}  // namespace
}  // namespace codecllm
