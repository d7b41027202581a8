// SPDX-License-Identifier: Apache-2.0
// Attention over numbers that are not finite, and over scores at the end of the range.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/attention_case.h"

namespace codecllm {
namespace {

class AttentionLimits : public ::testing::TestWithParam<Isa> {};

TEST_P(AttentionLimits, NotFiniteNumbersAreNotHidden) {
  Rng rng(24);
  for (KvType type : {KvType::f32, KvType::f16}) {
    for (int64_t bad : {0, 20, 68}) {
      Cache cache(type, 20, 70, rng);
      Call call = random_call(2, 20, 0, 70, rng);
      call.kv_head = 1;
      const auto key = cache.keys[bad], value = cache.values[bad];
      auto sick = key;
      for (float number : {NAN, INFINITY}) {
        sick[20 + 3] = number;
        call.query[3] = call.query[20 + 3] = 1;  // a score of +Inf has no softmax
        cache.set(bad, sick, value);
        for (float v : attend(GetParam(), cache, call))
          EXPECT_TRUE(std::isnan(v)) << number << " in key " << bad;
      }
      Call outside = call;
      outside.first = bad + 1;
      for (float v : attend(GetParam(), cache, outside))
        EXPECT_TRUE(std::isfinite(v)) << "outside the window";
      outside = call;
      outside.kv_head = 2;
      for (float v : attend(GetParam(), cache, outside)) EXPECT_TRUE(std::isfinite(v)) << "another head";

      sick = value;
      sick[20 + 3] = NAN;
      cache.set(bad, key, sick);
      const auto out = attend(GetParam(), cache, call);
      for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(std::isnan(out[i]), i % 20 == 3) << "value " << bad;
      call.query[20 + 5] = NAN;
      cache.set(bad, key, value);
      const auto half_bad = attend(GetParam(), cache, call);
      for (size_t i = 0; i < half_bad.size(); ++i) EXPECT_EQ(std::isnan(half_bad[i]), i >= 20) << "query";
    }
  }
}

TEST_P(AttentionLimits, LargeScoresDoNotOverflow) {
  Rng rng(25);
  for (float sign : {1.0f, -1.0f}) {
    Cache cache(KvType::f32, 16, 100, rng);
    for (int64_t t = 0; t < 100; ++t) {
      std::vector<float> key(kKvHeads * 16, sign * (t == 77 ? (sign > 0 ? 2e18f : 5e17f) : 1e18f));
      cache.set(t, key, cache.values[t]);
    }
    const Call call = {std::vector<float>(2 * 16, 1e18f), 2, 0, 0, 100, 1.0f};  // scores of +-1.6e37
    const auto out = attend(GetParam(), cache, call);
    for (size_t i = 0; i < out.size(); ++i)
      EXPECT_EQ(out[i], cache.values[77][i % 16]) << "all weight on one token";
  }
}

// Exact sums of an INT8 cache's products stay in 32 bits, however long a head is, and however many tokens share the weight.
TEST_P(AttentionLimits, LongHeadsDoNotOverflow) {
  for (int64_t head_dim : {512, 514, 1024, 4096}) {
    Rng rng(26);
    Cache cache(KvType::i8, head_dim, 64, rng);
    for (int64_t t = 0; t < 64; ++t) {
      const float sign = t == 40 ? 1.0f : -1.0f;
      cache.set(t, std::vector<float>(kKvHeads * head_dim, sign), std::vector<float>(kKvHeads * head_dim, sign));
    }
    Call call = {std::vector<float>(head_dim, 1.0f), 1, 0, 0, 64, 1.0f};
    for (float v : attend(GetParam(), cache, call)) EXPECT_EQ(v, 1.0f) << head_dim;  // a score of head_dim against -head_dim
    call.query.assign(head_dim, 0.0f);
    for (float v : attend(GetParam(), cache, call)) EXPECT_NEAR(v, -62.0f / 64, 1e-4) << head_dim;
  }
}

// A token with all the weight of its block does not take the others' with it: what 16 bits leave of those is small.
TEST_P(AttentionLimits, SmallWeightsBesideALargeOneAreKept) {
  Rng rng(27);
  Cache cache(KvType::i8, 16, 640, rng);
  for (int64_t t = 0; t < 640; ++t)  // scores 0 and 9: nine tenths of the weight on token 5
    cache.set(t, std::vector<float>(kKvHeads * 16, t == 5 ? 9.0f / 16 : 0.0f), std::vector<float>(kKvHeads * 16, t == 5 ? 0.0f : 1.0f));
  const Call call = {std::vector<float>(16, 1.0f), 1, 0, 0, 640, 1.0f};
  const double expected = 639 / (639 + std::exp(9.0));
  for (float v : attend(GetParam(), cache, call)) EXPECT_NEAR(v, expected, 1e-3 * expected);
}

INSTANTIATE_TEST_SUITE_P(, AttentionLimits, ::testing::ValuesIn(available_isas()),
                         [](const auto& tier) { return std::string(isa_name(tier.param)); });

}  // namespace
}  // namespace codecllm
