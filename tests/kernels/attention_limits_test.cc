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

INSTANTIATE_TEST_SUITE_P(, AttentionLimits, ::testing::ValuesIn(available_isas()),
                         [](const auto& tier) { return std::string(isa_name(tier.param)); });

}  // namespace
}  // namespace codecllm
