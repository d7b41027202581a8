// SPDX-License-Identifier: Apache-2.0
#include "gen/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "io/support.h"

namespace codecllm {
namespace {

using test::error_of;

// Everything off but the temperature.
SamplerOptions plain(float temperature, uint64_t seed = 1) {
  return {
      .temperature = temperature, .top_k = 0, .top_p = 1, .min_p = 0, .repetition_penalty = 1, .seed = seed};
}

std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

std::vector<float> random_logits(Rng& rng, size_t n) {
  std::vector<float> logits(n);
  for (float& v : logits) v = static_cast<float>(rng.normal());
  return logits;
}

// What is picked in many draws. A token of probability p is missed with (1 - p)^4000: below 1e-17 from 1%.
std::set<int32_t> kept(const SamplerOptions& options, const std::vector<double>& probabilities) {
  Sampler sampler(options);
  const std::vector<float> logits = logits_of(probabilities);
  std::set<int32_t> seen;
  for (int i = 0; i < 4000; ++i) seen.insert(sampler.pick(logits, {}));
  return seen;
}

TEST(Sampler, GreedyTakesTheFirstOfEqualLogits) {
  Sampler sampler(plain(0));
  EXPECT_EQ(sampler.pick(std::vector<float>{0, 3, 1, 3, 3}, {}), 1);
  EXPECT_EQ(sampler.pick(std::vector<float>(50, -7.0f), {}), 0);
  EXPECT_EQ(sampler.pick(std::vector<float>{-2, -1, -1}, {}), 1);
}

TEST(Sampler, TopOneIsGreedyAtAnyTemperature) {
  Rng rng(1);
  Sampler greedy(plain(0));
  SamplerOptions options = plain(5);
  options.top_k = 1;
  Sampler top(options);
  for (int i = 0; i < 500; ++i) {
    std::vector<float> logits = random_logits(rng, 1 + rng.below(100));
    if (i % 3 == 0) logits.push_back(*std::max_element(logits.begin(), logits.end()));  // a tie
    ASSERT_EQ(top.pick(logits, {}), greedy.pick(logits, {}));
  }
}

TEST(Sampler, TopKKeepsExactlyKAndTheFirstOfTies) {
  SamplerOptions options = plain(1);
  options.top_k = 3;
  EXPECT_EQ(kept(options, {0.1, 0.3, 0.05, 0.25, 0.3}), (std::set<int32_t>{1, 3, 4}));
  EXPECT_EQ(kept(options, {0.2, 0.2, 0.2, 0.2, 0.2}), (std::set<int32_t>{0, 1, 2}));
  options.top_k = 9;
  EXPECT_EQ(kept(options, {0.1, 0.3, 0.05, 0.25, 0.3}).size(), 5u);
}

TEST(Sampler, TopPKeepsTheSmallestSetThatReachesP) {
  const std::vector<double> p = {0.1, 0.4, 0.2, 0.3};
  const auto sets = [&](float top_p) {
    SamplerOptions options = plain(1);
    options.top_p = top_p;
    return kept(options, p);
  };
  EXPECT_EQ(sets(0.01f), (std::set<int32_t>{1}));
  EXPECT_EQ(sets(0.39f), (std::set<int32_t>{1}));
  EXPECT_EQ(sets(0.41f), (std::set<int32_t>{1, 3}));
  EXPECT_EQ(sets(0.69f), (std::set<int32_t>{1, 3}));
  EXPECT_EQ(sets(0.71f), (std::set<int32_t>{1, 2, 3}));
  EXPECT_EQ(sets(0.91f), (std::set<int32_t>{0, 1, 2, 3}));
  EXPECT_EQ(sets(1.0f), (std::set<int32_t>{0, 1, 2, 3}));
}

TEST(Sampler, MinPIsRelativeToTheLikeliest) {
  const std::vector<double> p = {0.1, 0.4, 0.2, 0.3};
  const auto sets = [&](float min_p) {
    SamplerOptions options = plain(1);
    options.min_p = min_p;
    return kept(options, p);
  };
  EXPECT_EQ(sets(0.24f), (std::set<int32_t>{0, 1, 2, 3}));
  EXPECT_EQ(sets(0.26f), (std::set<int32_t>{1, 2, 3}));
  EXPECT_EQ(sets(0.51f), (std::set<int32_t>{1, 3}));
  EXPECT_EQ(sets(0.76f), (std::set<int32_t>{1}));
}

// Hugging Face's order: top-p works on what top-k left, made to add up to one again, and both after the
// temperature.
TEST(Sampler, FiltersWorkInOrder) {
  SamplerOptions options = plain(1);
  options.top_k = 2;
  options.top_p = 0.5f;
  EXPECT_EQ(kept(options, {0.1, 0.4, 0.2, 0.3}), (std::set<int32_t>{1}));  // 0.4 / 0.7 is enough
  options = plain(2);
  options.top_p = 0.38f;  // at temperature 2 the likeliest has 0.326
  EXPECT_EQ(kept(options, {0.1, 0.4, 0.2, 0.3}), (std::set<int32_t>{1, 3}));
}

TEST(Sampler, FrequenciesFollowTheTemperature) {
  const std::vector<float> logits = {1.0f, 0.2f, -0.5f, 2.0f, 0.9f, -1.5f};
  for (float temperature : {0.5f, 1.0f, 1.7f}) {
    double total = 0;
    std::vector<double> p;
    for (float v : logits) p.push_back(std::exp(v / temperature)), total += p.back();
    Sampler sampler(plain(temperature, 3));
    constexpr int kDraws = 50000;
    std::vector<int> counts(logits.size());
    for (int i = 0; i < kDraws; ++i) ++counts[sampler.pick(logits, {})];
    double chi_square = 0;
    for (size_t i = 0; i < p.size(); ++i) {
      const double expected = kDraws * p[i] / total;
      chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
    EXPECT_LT(chi_square, 35.9) << temperature;  // five degrees of freedom: exceeded once in a million
  }
}

TEST(Sampler, SameSeedSamePicks) {
  Rng rng(4);
  const SamplerOptions options = plain(1, 77);
  Sampler a(options), b(options), c(plain(1, 78));
  int same = 0;
  for (int i = 0; i < 300; ++i) {
    const std::vector<float> logits = random_logits(rng, 40);
    const int32_t pick = a.pick(logits, {});
    ASSERT_EQ(pick, b.pick(logits, {}));
    same += pick == c.pick(logits, {}) ? 1 : 0;
  }
  EXPECT_LT(same, 150);
}

TEST(Sampler, RepetitionPenaltyDividesPositiveAndMultipliesNegativeLogitsOnce) {
  const auto pick = [](float penalty, std::vector<float> logits, std::vector<int32_t> tokens) {
    SamplerOptions options = plain(0);
    options.repetition_penalty = penalty;
    return Sampler(options).pick(logits, tokens);
  };
  EXPECT_EQ(pick(2, {3.0f, 1.6f}, {0}), 1);        // 1.5 against 1.6
  EXPECT_EQ(pick(2, {3.0f, 1.4f}, {0, 0, 0}), 0);  // once, however often the token stands there
  EXPECT_EQ(pick(2, {-1.0f, -1.9f}, {0}), 1);      // -2 against -1.9
  EXPECT_EQ(pick(2, {-1.0f, -2.1f}, {0, 0}), 0);
  EXPECT_EQ(pick(0.5f, {1.0f, 1.5f}, {0}), 0);   // below one: a reward
  EXPECT_EQ(pick(2, {3.0f, 1.6f}, {7, -1}), 0);  // ids that are no token change nothing
  SamplerOptions options = plain(1);             // and it comes before sampling: equal chances here
  options.repetition_penalty = 2;
  Sampler sampler(options);
  int first = 0;
  const std::vector<int32_t> seen = {0};
  for (int i = 0; i < 10000; ++i) first += sampler.pick(std::vector<float>{4, 2}, seen) == 0 ? 1 : 0;
  EXPECT_NEAR(first, 5000, 250);  // five standard deviations of sqrt(10000) / 2
}

TEST(Sampler, LogitsThatAreNotFiniteAreAnError) {
  for (float temperature : {0.0f, 1.0f})
    for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                      -std::numeric_limits<float>::infinity()}) {
      Sampler sampler(plain(temperature));
      std::vector<float> logits(9, 1.0f);
      logits[6] = bad;
      const std::vector<int32_t> tokens = {1, 2, 3};
      const std::string message = error_of([&] { sampler.pick(logits, tokens); });
      EXPECT_NE(message.find("token 6"), std::string::npos) << message;
      EXPECT_NE(message.find("after 3 tokens"), std::string::npos) << message;
    }
}

TEST(Sampler, OptionsOutOfRangeAreRefused) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto refused = [](auto member, auto value) {
    SamplerOptions options;
    options.*member = value;
    error_of([&] { check(options); }, ErrorCode::bad_call);
    error_of([&] { Sampler sampler(options); }, ErrorCode::bad_call);
  };
  refused(&SamplerOptions::top_k, -1);
  for (float v : {-0.1f, nan}) refused(&SamplerOptions::temperature, v);
  for (float v : {0.0f, -1.0f, 1.01f, nan}) refused(&SamplerOptions::top_p, v);
  for (float v : {-0.01f, 1.0f, nan}) refused(&SamplerOptions::min_p, v);
  for (float v : {0.0f, -1.0f, nan}) refused(&SamplerOptions::repetition_penalty, v);
  check(SamplerOptions{});
}

}  // namespace
}  // namespace codecllm
