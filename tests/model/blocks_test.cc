// SPDX-License-Identifier: Apache-2.0
// A model run one block at a time, each from a model of its own, is the whole model.
#include "model/forward.h"
#include "model/model_test.h"
#include "model/wiring.h"

namespace codecllm {
namespace {

class Blocks : public ::testing::TestWithParam<std::string> {};

TEST_P(Blocks, OneAtATimeGiveTheSameBits) {
  const Context context({.threads = 2});
  const std::string directory = model_directory(GetParam());
  const DecoderModel whole = load_model(context, directory);
  const auto hidden_size = static_cast<size_t>(whole.spec.hidden);
  constexpr int64_t kTokens = 40;
  const auto rows_of = [&](KvCache& cache, KvSequence& sequence) {
    cache.grow(sequence, kTokens);
    std::vector<BatchRow> rows;
    for (int64_t i = 0; i < kTokens; ++i) rows.push_back({static_cast<int32_t>(i * 31 % whole.spec.vocab), &sequence, i, false});
    return rows;
  };
  std::vector<std::vector<float>> expected(static_cast<size_t>(whole.spec.layers));
  std::vector<float> hidden;
  const auto compact = [](const TapPoint& point) {
    std::vector<float> values;
    for (int64_t r = 0; r < point.rows; ++r)
      values.insert(values.end(), point.data + r * point.stride, point.data + r * point.stride + point.columns);
    return values;
  };
  KvCache cache(whole.spec, KvType::f16, kTokens);
  KvSequence sequence;
  Forward forward(whole, cache);
  forward.run(rows_of(cache, sequence), [&](const TapPoint& point) {
    if (point.op == "embedding") hidden = compact(point);
    if (point.op == "block") expected[point.layer] = compact(point);
  });
  const Checkpoint checkpoint(directory);
  for (int64_t layer = 0; layer < whole.spec.layers; ++layer) {
    DecoderModel one = {&context, whole.spec, {}, ""};
    one.spec.layers = 1;
    one.spec.first_window_layer = std::max<int64_t>(0, whole.spec.first_window_layer - layer);
    one.weights.blocks.push_back(load_block(context, checkpoint, whole.spec, layer));
    KvCache own(one.spec, KvType::f16, kTokens);
    KvSequence own_sequence;
    Forward block(one, own);
    ASSERT_EQ(hidden.size(), kTokens * hidden_size);
    block.run_blocks(rows_of(own, own_sequence), hidden);
    ASSERT_EQ(hidden, expected[layer]) << layer;
  }
}

INSTANTIATE_TEST_SUITE_P(, Blocks, ::testing::ValuesIn(model_names()), test_name);

// The taps that the wiring names have the width it says, and every linear of a block reads exactly one of them.
TEST(Wiring, NamesEveryLinearOnceAndTheTapItReads) {
  const Context context({.threads = 1});
  for (const std::string& name : model_names()) {
    const DecoderModel model = load_model(context, model_directory(name));
    std::map<std::string, int64_t> widths;
    KvCache cache(model.spec, KvType::f16, 1);
    KvSequence sequence;
    cache.grow(sequence, 1);
    const BatchRow row = {1, &sequence, 0, false};
    Forward(model, cache).run({&row, 1}, [&](const TapPoint& point) { widths[std::string(point.op)] = point.columns; });
    std::vector<std::string> seen, expected;
    for (int64_t layer = 0; layer < model.spec.layers; ++layer)
      for (const BlockInput& input : block_inputs(model.spec, layer)) {
        EXPECT_EQ(widths.at(std::string(input.tap)), input.columns) << name;
        EXPECT_NE(input.norm.empty(), input.producer.empty());
        for (const LinearSpec& reader : input.readers) {
          EXPECT_EQ(reader.columns, input.columns) << reader.name;
          seen.push_back(reader.name);
        }
      }
    for (const LinearSpec& linear : model.spec.linears())
      if (linear.kind != LinearKind::lm_head) expected.push_back(linear.name);
    EXPECT_EQ(seen, expected) << name;
  }
}

}  // namespace
}  // namespace codecllm
