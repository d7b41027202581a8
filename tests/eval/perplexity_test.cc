// SPDX-License-Identifier: Apache-2.0
#include "eval/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/rng.h"
#include "quant/support.h"

namespace codecllm {
namespace {

using test::error_of;
using test::model_data;

// Sums of 96 terms in double on both sides; the logits are the same bits.
constexpr double kRounding = 1e-12;

std::vector<int32_t> random_tokens(size_t n, uint64_t seed) {
  Rng rng(seed);
  std::vector<int32_t> tokens(n);
  for (int32_t& token : tokens) token = static_cast<int32_t>(rng.below(96));
  return tokens;
}

DecoderModel load(const std::string& name) { return load_model(test::two_threads(), model_data(name)); }

// The log-probabilities after these tokens, from one forward over all of them.
std::vector<double> log_probabilities(const DecoderModel& model, std::span<const int32_t> tokens) {
  KvCache cache(model.spec, KvType::f16, static_cast<int64_t>(tokens.size()));
  KvSequence sequence;
  cache.grow(sequence, static_cast<int64_t>(tokens.size()));
  Forward forward(model, cache);
  std::vector<BatchRow> rows;
  for (size_t i = 0; i < tokens.size(); ++i)
    rows.push_back({tokens[i], &sequence, static_cast<int64_t>(i), i + 1 == tokens.size()});
  const auto logits = forward.run(rows);
  double total = 0;
  for (float v : logits) total += std::exp(static_cast<double>(v));
  std::vector<double> out;
  for (float v : logits) out.push_back(v - std::log(total));
  return out;
}

// Where the context of every scored token begins: in the first window that holds the token and something
// before it.
std::vector<std::pair<size_t, size_t>> scored_tokens(size_t count, size_t context, size_t stride) {
  std::vector<std::pair<size_t, size_t>> out;  // token, first token of its context
  for (size_t token = 1; token < count; ++token)
    for (size_t begin = 0; begin < token; begin += stride)
      if (token < begin + context) {
        out.emplace_back(token, begin);
        break;
      }
  return out;
}

TEST(Perplexity, OfTheDecodeLoopIsTheSameToTheLastBit) {
  const DecoderModel model = load("rope-llama3"), reference = load("rope-llama3");
  const auto tokens = random_tokens(70, 5);
  PerplexityOptions options = {.context = 24, .stride = 12};
  const PerplexityResult batched = perplexity(model, tokens, options, &reference);
  options.decode_loop = true;
  const PerplexityResult looped = perplexity(model, tokens, options, &reference);
  EXPECT_EQ(looped.nll, batched.nll);
  EXPECT_EQ(looped.tokens, batched.tokens);
  EXPECT_EQ(looped.kl_mean, 0);
}

TEST(Perplexity, IsThatOfEveryTokenInTheFirstWindowThatHoldsIt) {
  const DecoderModel model = load("llama");
  const std::vector<int32_t> tokens = random_tokens(61, 1);
  const size_t cases[][2] = {{61, 30}, {20, 10}, {20, 20}, {20, 1},  {7, 5},
                             {2, 1},   {2, 2},   {33, 32}, {60, 60}, {300, 61}};
  for (const auto& [context, stride] : cases) {
    const auto scored = scored_tokens(tokens.size(), context, stride);
    if (stride < context) {  // each but the first, once
      EXPECT_EQ(scored.size(), tokens.size() - 1);
    }
    double nll = 0;
    for (const auto& [token, begin] : scored)
      nll -= log_probabilities(model, std::span(tokens).subspan(begin, token - begin))[tokens[token]];
    nll /= static_cast<double>(scored.size());
    const PerplexityResult r =
        perplexity(model, tokens, {static_cast<int64_t>(context), static_cast<int64_t>(stride)});
    EXPECT_EQ(r.tokens, static_cast<int64_t>(scored.size())) << context << " " << stride;
    EXPECT_NEAR(r.nll, nll, kRounding * nll) << context << " " << stride;
    EXPECT_NEAR(r.perplexity, std::exp(nll), 100 * kRounding * std::exp(nll));
    EXPECT_TRUE(r.logits_finite && r.loss_finite);
    EXPECT_FALSE(r.compared);
  }
}

// An attention output is a mean of values that are off by at most r of the largest of their head, r = 1/254 in INT8 and 2^-4 in
// E4M3, under weights that move likewise; so logits are taken to move by 2 r of their spread D at most, and a distribution whose
// logits move by d has a divergence of at most (2 d)^2 / 8 (Hoeffding).
TEST(Perplexity, OfACacheOfCodesIsNearThatOfF16) {
  const DecoderModel model = load("llama");
  const std::vector<int32_t> tokens = random_tokens(200, 6);
  const auto logs = log_probabilities(model, std::span(tokens).first(60));
  const double spread = *std::max_element(logs.begin(), logs.end()) - *std::min_element(logs.begin(), logs.end());
  double before = 0;
  for (const auto& [kv, r] : {std::pair{KvType::i8, 1.0 / 254}, {KvType::e4m3, 0x1p-4}}) {
    const double kl = perplexity(model, tokens, {.context = 64, .stride = 32, .kv = kv}, &model).kl_mean;
    EXPECT_GT(kl, before) << "E4M3 has fewer bits for the larger values";
    EXPECT_LT(kl, (4 * r * spread) * (4 * r * spread) / 8);
    before = kl;
  }
}

TEST(Perplexity, DefaultsAreTheTrainedLengthAndHalfOfIt) {
  const DecoderModel model = load("llama");
  const std::vector<int32_t> tokens = random_tokens(200, 2);
  const PerplexityResult r = perplexity(model, tokens, {});
  EXPECT_EQ(r.tokens, 199);
  EXPECT_EQ(r.nll, perplexity(model, tokens, {64, 32}).nll);
  EXPECT_NE(r.nll, perplexity(model, tokens, {200, 100}).nll);
}

// Windows longer than the rows that run at a time (128).
TEST(Perplexity, LongWindowsRunInPieces) {
  const DecoderModel model = load("llama");
  const std::vector<int32_t> tokens = random_tokens(430, 3);
  for (const auto& [context, stride] : {std::pair<int64_t, int64_t>{400, 40}, {129, 128}}) {
    double nll = 0;
    const auto scored =
        scored_tokens(tokens.size(), static_cast<size_t>(context), static_cast<size_t>(stride));
    for (const auto& [token, begin] : scored)
      nll -= log_probabilities(model, std::span(tokens).subspan(begin, token - begin))[tokens[token]];
    const PerplexityResult r = perplexity(model, tokens, {context, stride});
    EXPECT_EQ(r.tokens, 429);
    EXPECT_NEAR(r.nll, nll / 429, 10 * kRounding);
  }
}

TEST(Perplexity, AModelBesideItselfDoesNotDiverge) {
  for (const char* name : {"llama", "llama-bf16", "mistral"}) {
    const DecoderModel model = load(name), same = load(name);
    const std::vector<int32_t> tokens = random_tokens(80, 4);
    const PerplexityResult r = perplexity(model, tokens, {32, 16}, &same);
    EXPECT_TRUE(r.compared);
    EXPECT_EQ(r.kl_mean, 0);
    EXPECT_EQ(r.kl_p99, 0);
    EXPECT_EQ(r.top1_agreement, 1);
    EXPECT_EQ(r.reference_perplexity, r.perplexity);
  }
}

TEST(Perplexity, DivergenceAndAgreementAreThoseOfTheDistributions) {
  const DecoderModel model = load("llama-bf16"), reference = load("llama");
  const std::vector<int32_t> tokens = random_tokens(150, 5);
  std::vector<double> kl;
  double same_top = 0, mean = 0, reference_nll = 0;
  for (const auto& [token, begin] : scored_tokens(tokens.size(), 40, 20)) {
    const auto before = std::span(tokens).subspan(begin, token - begin);
    const std::vector<double> q = log_probabilities(model, before), p = log_probabilities(reference, before);
    kl.push_back(0);
    for (size_t i = 0; i < p.size(); ++i) kl.back() += std::exp(p[i]) * (p[i] - q[i]);
    same_top +=
        std::max_element(p.begin(), p.end()) - p.begin() == std::max_element(q.begin(), q.end()) - q.begin()
            ? 1
            : 0;
    reference_nll -= p[tokens[token]];
    mean += kl.back() / 149;
  }
  const PerplexityResult r = perplexity(model, tokens, {40, 20}, &reference);
  EXPECT_NEAR(r.kl_mean, mean, kRounding);
  std::sort(kl.begin(), kl.end());
  EXPECT_NEAR(r.kl_p99, kl[147], kRounding);  // 0.99 * 148 = 146.52
  EXPECT_NEAR(r.top1_agreement, same_top / 149, kRounding);
  EXPECT_NEAR(r.reference_perplexity, std::exp(reference_nll / 149), 1e-9);
  EXPECT_GT(r.kl_mean, 1e-4);  // the two are different models
  EXPECT_EQ(r.nll, perplexity(model, tokens, {40, 20}).nll);
}

TEST(Perplexity, TellsOfLogitsThatAreNotFinite) {
  const test::TempDirectory temp;
  const std::vector<int32_t> tokens = random_tokens(30, 6);
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const char* name : {"lm_head.weight", "model.norm.weight", "model.layers.1.mlp.up_proj.weight"}) {
      const std::string directory =
          test::edited_model("llama", temp / std::string(name) + std::to_string(bad),
                             [&](auto& t) { test::set_value(t.at(name), 5, bad); });
      const PerplexityResult r = perplexity(load_model(test::two_threads(), directory), tokens, {});
      EXPECT_FALSE(r.logits_finite) << name << " " << bad;
      const DecoderModel good = load("llama"), damaged = load_model(test::two_threads(), directory);
      const PerplexityResult beside = perplexity(good, tokens, {}, &damaged);
      EXPECT_TRUE(beside.logits_finite && !beside.reference_finite) << name << " " << bad;
    }
  }
  const std::string unused = test::edited_model("llama", temp / "unused", [&](auto& t) {
    for (size_t i = 0; i < 32; ++i)
      test::set_value(t.at("model.embed_tokens.weight"), 95 * 32 + i,
                      std::numeric_limits<float>::quiet_NaN());
  });
  const std::vector<int32_t> others = {1, 2, 3, 4, 5, 6, 7};
  EXPECT_TRUE(perplexity(load_model(test::two_threads(), unused), others, {}).logits_finite);
}

TEST(Perplexity, RefusesWhatMakesNoSense) {
  const DecoderModel model = load("llama");
  DecoderModel larger = load("llama");
  larger.spec.vocab = 97;
  const std::vector<int32_t> tokens = random_tokens(20, 7);
  const auto refused = [&](const std::vector<int32_t>& t, PerplexityOptions options,
                           const DecoderModel* reference = nullptr) {
    return error_of([&] { perplexity(model, t, options, reference); }, ErrorCode::bad_call);
  };
  refused({}, {});
  refused({1}, {});
  EXPECT_NE(refused({1, 2, 96}, {}).find("96"), std::string::npos);
  EXPECT_NE(refused({1, -2}, {}).find("-2"), std::string::npos);
  refused(tokens, {10, 11});
  refused(tokens, {}, &larger);
  error_of(
      [&] {
        perplexity(model, tokens, {10, 5}, nullptr, [](double, std::string_view) { return false; });
      },
      ErrorCode::interrupted);
}

TEST(Perplexity, IsCancelledWithinAPiece) {
  const DecoderModel model = load("llama");
  int calls = 0;
  error_of([&] { perplexity(model, random_tokens(64, 9), {}, nullptr, [&](double, std::string_view) { return ++calls < 5; }); }, ErrorCode::interrupted);
  EXPECT_EQ(calls, 5);
  calls = 0;
  perplexity(model, random_tokens(64, 9), {}, nullptr, [&](double share, std::string_view) {
    ++calls;
    return share >= 0 && share <= 1;
  });
  EXPECT_GT(calls, 20);
}

}  // namespace
}  // namespace codecllm
