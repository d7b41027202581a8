// SPDX-License-Identifier: Apache-2.0
#include "gen/token_session.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "gen/sampler.h"
#include "quant/support.h"

namespace codecllm {
namespace {

using test::error_of;
using test::model_data;

std::vector<int32_t> random_tokens(size_t n, uint64_t seed) {
  Rng rng(seed);
  std::vector<int32_t> tokens(n);
  for (int32_t& token : tokens) token = static_cast<int32_t>(rng.below(96));
  return tokens;
}

std::vector<float> append(TokenSession& session, std::span<const int32_t> tokens) {
  const auto logits = session.append(tokens);
  return {logits.begin(), logits.end()};
}

std::vector<float> logits_after(const DecoderModel& model, std::span<const int32_t> tokens,
                                KvType kv = KvType::f16) {
  TokenSession session(model, static_cast<int64_t>(tokens.size()), kv);
  return append(session, tokens);
}

const DecoderModel& llama() {
  static const DecoderModel model = load_model(test::two_threads(), model_data("llama"));
  return model;
}

// 600 tokens are more than two pieces of a prompt and many blocks of the cache.
TEST(TokenSession, PiecesGiveTheSameBitsAsAllAtOnce) {
  const std::vector<int32_t> tokens = random_tokens(600, 1);
  for (KvType kv : {KvType::f16, KvType::f32}) {
    const std::vector<float> whole = logits_after(llama(), tokens, kv);
    ASSERT_EQ(whole.size(), 96u);
    for (size_t piece : {1u, 7u, 64u, 255u, 257u, 599u}) {
      TokenSession session(llama(), 600, kv);
      std::vector<float> last;
      for (size_t at = 0; at < tokens.size(); at += piece)
        last = append(session, std::span(tokens).subspan(at, std::min(piece, tokens.size() - at)));
      EXPECT_EQ(last, whole) << piece;
      EXPECT_EQ(session.length(), 600);
    }
  }
  EXPECT_NE(logits_after(llama(), tokens, KvType::f32), logits_after(llama(), tokens, KvType::f16));
}

TEST(TokenSession, EveryFamilyTakesPieces) {
  for (const char* name :
       {"llama-bf16", "llama-f16", "llama-mha", "llama-tied", "mistral", "qwen2", "qwen3"}) {
    const DecoderModel model = load_model(test::two_threads(), model_data(name));
    const std::vector<int32_t> tokens = random_tokens(40, 2);
    TokenSession session(model, 40);
    append(session, std::span(tokens).first(13));
    append(session, std::span(tokens).subspan(13, 1));
    EXPECT_EQ(append(session, std::span(tokens).subspan(14)), logits_after(model, tokens)) << name;
  }
}

TEST(TokenSession, TruncatedAndContinuedIsAsIfNothingHadBeen) {
  const std::vector<int32_t> first = random_tokens(200, 3), second = random_tokens(90, 4);
  for (size_t keep : {0u, 1u, 63u, 64u, 65u, 128u, 199u, 200u}) {
    TokenSession session(llama(), 300);
    append(session, first);
    session.truncate(static_cast<int64_t>(keep));
    EXPECT_EQ(session.length(), static_cast<int64_t>(keep));
    std::vector<int32_t> all(first.begin(), first.begin() + static_cast<ptrdiff_t>(keep));
    all.insert(all.end(), second.begin(), second.end());
    EXPECT_EQ(append(session, second), logits_after(llama(), all)) << keep;
    session.truncate(0);
    EXPECT_EQ(append(session, first), logits_after(llama(), first)) << keep;  // no block was lost
  }
}

// What is refused leaves the session as it was: what comes next gives the same logits as without the attempt.
TEST(TokenSession, RefusalsLeaveItUnchanged) {
  const std::vector<int32_t> tokens = random_tokens(10, 5);
  TokenSession session(llama(), 10);
  EXPECT_EQ(session.capacity(), 10);
  append(session, std::span(tokens).first(6));
  const auto refused = [&](const std::vector<int32_t>& bad) {
    const std::string message = error_of([&] { session.append(bad); }, ErrorCode::bad_call);
    EXPECT_EQ(session.length(), 6);
    return message;
  };
  EXPECT_NE(refused(random_tokens(5, 6)).find("room for 10"), std::string::npos);
  EXPECT_NE(refused({1, 96}).find("96"), std::string::npos);
  EXPECT_NE(refused({-1}).find("-1"), std::string::npos);
  refused({std::numeric_limits<int32_t>::max()});
  refused({std::numeric_limits<int32_t>::min()});
  EXPECT_EQ(append(session, {}), logits_after(llama(), std::span(tokens).first(6)));
  error_of([&] { TokenSession(llama(), 10).append({}); }, ErrorCode::bad_call);
  EXPECT_EQ(append(session, std::span(tokens).subspan(6)), logits_after(llama(), tokens));
  error_of([&] { session.append(std::vector<int32_t>{1}); }, ErrorCode::bad_call);
  EXPECT_EQ(session.length(), 10);
}

TEST(TokenSession, LogitsDoNotDependOnTheNumberOfThreads) {
  const std::vector<int32_t> tokens = random_tokens(70, 7);
  for (const char* name : {"llama", "llama-bf16", "qwen3"}) {
    std::vector<float> expected;
    for (int threads : {1, 2, 3}) {
      const Context context({.threads = threads});
      const DecoderModel model = load_model(context, model_data(name));
      const std::vector<float> got = logits_after(model, tokens);
      if (expected.empty()) expected = got;
      EXPECT_EQ(got, expected) << name << " " << threads;
    }
  }
}

std::vector<int32_t> ids_of(const SafetensorsFile& file, const std::string& name) {
  const TensorInfo* tensor = file.find(name);
  std::vector<int64_t> values(tensor->data.size() / 8);
  std::memcpy(values.data(), tensor->data.data(), tensor->data.size());
  return {values.begin(), values.end()};
}

// transformers' generate() with and without its repetition penalty (tools/dump_reference.py).
TEST(TokenSession, GreedyContinuationsAreThoseOfTransformersOnEveryTier) {
  const SafetensorsFile reference(model_data("llama") + "/reference.safetensors");
  const std::vector<int32_t> prompt = ids_of(reference, "prompt");
  ASSERT_EQ(prompt.size(), 8u);
  for (Isa isa : available_isas()) {
    const Context context({.threads = 2, .isa = std::string(isa_name(isa))});
    const DecoderModel model = load_model(context, model_data("llama"));
    for (const auto& [name, penalty] : {std::pair{"greedy", 1.0f}, std::pair{"greedy_rep", 1.3f}}) {
      const std::vector<int32_t> expected = ids_of(reference, name);
      ASSERT_EQ(expected.size(), 16u);
      Sampler sampler({.temperature = 0, .repetition_penalty = penalty});
      TokenSession session(model, 64, KvType::f32);
      std::vector<int32_t> all = prompt;
      std::vector<float> logits = append(session, prompt);
      while (all.size() < prompt.size() + expected.size()) {
        all.push_back(sampler.pick(logits, all));
        logits = append(session, std::span(all).last(1));
      }
      EXPECT_EQ(std::vector<int32_t>(all.begin() + 8, all.end()), expected) << name << " " << isa_name(isa);
    }
  }
}

// Ctrl-C is noticed between the steps of a layer, not only between pieces of the prompt; what was held stays.
TEST(TokenSession, APromptCanBeCancelledWithinALayer) {
  const std::vector<int32_t> tokens = random_tokens(600, 3);
  const auto begin = std::span(tokens).first(10), rest = std::span(tokens).subspan(10);
  int calls = 0;
  {
    TokenSession session(llama(), 600);
    session.append(tokens, [&] { return ++calls < 0; });
  }
  const int pieces = 2;
  EXPECT_GT(calls, pieces * 10 * llama().spec.layers);
  const std::vector<float> expected = logits_after(llama(), tokens);
  for (int stop : {1, 5, calls / 2, calls - 30}) {
    TokenSession session(llama(), 600);
    const std::vector<float> before = append(session, begin);
    int asked = 0;
    error_of([&] { session.append(rest, [&] { return ++asked == stop; }); }, ErrorCode::interrupted);
    EXPECT_EQ(asked, stop);
    EXPECT_EQ(session.length(), 10);
    EXPECT_EQ(append(session, {}), before);
    EXPECT_EQ(append(session, rest), expected);
  }
  // The token loop is never asked.
  TokenSession session(llama(), 600);
  session.append(begin);
  for (int i = 0; i < 5; ++i) session.append(rest.subspan(static_cast<size_t>(i), 1), []() -> bool { throw std::logic_error("asked"); });
}

}  // namespace
}  // namespace codecllm
