// SPDX-License-Identifier: Apache-2.0
#include "gen/measure.h"

#include <gtest/gtest.h>

#include <cmath>

#include "quant/support.h"

namespace codecllm {
namespace {

// A token behind a made-up context sees all of it, in every layer: its output is finite in a cache whose unused blocks hold NaN,
// and moves with the context's length.
TEST(RandomContext, FillsEveryLayer) {
  const DecoderModel model = load_model(test::two_threads(), test::model_data("llama"));
  for (const KvType kv : {KvType::f32, KvType::f16, KvType::i8, KvType::e4m3}) {
    std::vector<float> before;
    for (const int64_t count : {1, 63, 64, 130}) {
      KvCache cache(model.spec, kv, 200);
      for (int64_t layer = 0; layer < model.spec.layers; ++layer) {
        const KvView view = cache.layer(layer);
        for (uint8_t* bytes : {view.keys, view.values}) std::fill_n(bytes, 4 * view.block_bytes(), uint8_t{0xFF});
      }
      KvSequence sequence;
      Rng rng(1);
      random_context(model, cache, sequence, count, rng);
      EXPECT_EQ(sequence.length, count);
      cache.grow(sequence, 1);
      Forward forward(model, cache);
      const BatchRow row = {5, &sequence, count, true};
      const auto logits = forward.run({&row, 1});
      const std::vector<float> now(logits.begin(), logits.end());
      for (float x : now) ASSERT_TRUE(std::isfinite(x)) << count;
      EXPECT_NE(now, before) << count;
      before = now;
    }
  }
}

}  // namespace
}  // namespace codecllm
