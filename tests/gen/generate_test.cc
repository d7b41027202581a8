// SPDX-License-Identifier: Apache-2.0
#include "gen/generate.h"

#include <gtest/gtest.h>

#include "gen/tiny_tokenizer.h"
#include "quant/support.h"

namespace codecllm {
namespace {

using test::error_of;

struct Rig {
  DecoderModel model = load_model(test::two_threads(), test::model_data("llama"));
  Tokenizer tokenizer = test::tiny_tokenizer();
  std::vector<int32_t> prompt = tokenizer.encode("the hen");

  GenerateResult run(const GenerateOptions& options, const TextSink& sink = {},
                     int64_t capacity = 200) const {
    TokenSession session(model, capacity);
    return generate(session, model, tokenizer, prompt, options, sink);
  }
};

// A random model at a high temperature: varied text, halves of characters among it.
GenerateOptions wild(int64_t tokens, uint64_t seed = 5) {
  GenerateOptions options;
  options.max_tokens = tokens;
  options.sampler = {.temperature = 2, .top_k = 0, .top_p = 1, .min_p = 0, .seed = seed};
  options.ignore_eos = true;
  return options;
}

TEST(Generate, EndsAfterMaxTokens) {
  const Rig rig;
  for (int64_t n : {0, -1}) error_of([&] { rig.run(wild(n)); }, ErrorCode::bad_call);
  ASSERT_EQ(rig.prompt.size(), 4u);  // the, space, he, n
  for (int64_t n : {1, 2, 17}) {
    const GenerateResult r = rig.run(wild(n));
    EXPECT_EQ(r.tokens.size(), static_cast<size_t>(n));
    EXPECT_EQ(r.finish, "length");
    EXPECT_EQ(r.prompt_tokens, 4);
    EXPECT_EQ(r.token_s.size(), static_cast<size_t>(n - 1));
    EXPECT_GT(r.ttft_s, 0);
  }
}

TEST(Generate, PiecesJoinedAreTheTextAndTheTokensDecoded) {
  const Rig rig;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::string joined;
    const GenerateResult r = rig.run(wild(60, seed), [&](std::string_view piece) {
      EXPECT_FALSE(piece.empty());
      joined += piece;
      return true;
    });
    EXPECT_EQ(joined, r.text);
    EXPECT_EQ(r.text, rig.tokenizer.decode(r.tokens));
  }
}

TEST(Generate, ShowsOnlyWholeCharacters) {
  // A model that often likes the two halves of é, both equally.
  const test::TempDirectory temp;
  const std::string directory = test::edited_model("llama", temp / "m", [](test::Tensors& tensors) {
    test::Tensor& head = tensors.at("lm_head.weight");
    const std::vector<float> values = test::values_of(head);
    for (size_t half : {5, 6})
      for (size_t i = 0; i < 32; ++i) test::set_value(head, half * 32 + i, 8 * values[5 * 32 + i]);
  });
  Rig rig;
  rig.model = load_model(test::two_threads(), directory);
  int seen = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const GenerateResult r = rig.run(wild(60, seed), [&](std::string_view piece) {
      seen += piece.find("\xC3\xA9") != std::string_view::npos ? 1 : 0;
      const auto last = static_cast<unsigned char>(piece.back()),
                 first = static_cast<unsigned char>(piece[0]);
      EXPECT_NE(last, 0xC3);          // the first half of é
      EXPECT_NE(first & 0xC0, 0x80);  // the second half of anything
      return true;
    });
    EXPECT_EQ(r.text, rig.tokenizer.decode(r.tokens));
  }
  EXPECT_GT(seen, 5);
}

TEST(Generate, EndsWhenTheSessionIsFull) {
  const Rig rig;
  for (int64_t capacity : {4, 5, 12}) {
    const GenerateResult r = rig.run(wild(100), {}, capacity);
    EXPECT_EQ(r.finish, "context");
    EXPECT_EQ(r.tokens.size(), static_cast<size_t>(capacity - 4 + 1));  // the last one is not appended
    const std::vector<int32_t> more = rig.run(wild(100)).tokens;
    EXPECT_TRUE(std::equal(r.tokens.begin(), r.tokens.end(), more.begin()));
  }
  TokenSession session(rig.model, 3);
  error_of([&] { generate(session, rig.model, rig.tokenizer, rig.prompt, wild(5)); }, ErrorCode::bad_call);
  EXPECT_EQ(session.length(), 0);
}

TEST(Generate, EndsAtTheEndTokenOfModelOrTokenizer) {
  Rig rig;
  GenerateOptions options = wild(40);
  const GenerateResult free_run = rig.run(options);
  // An end token that comes first at some later place.
  size_t at = 20;
  while (std::count(free_run.tokens.begin(), free_run.tokens.begin() + static_cast<ptrdiff_t>(at),
                    free_run.tokens[at]) > 0)
    ++at;
  ASSERT_LT(at, free_run.tokens.size());
  const int32_t end = free_run.tokens[at];
  const auto expect_end = [&] {
    options.ignore_eos = false;
    const GenerateResult r = rig.run(options);
    EXPECT_EQ(r.finish, "eos");
    EXPECT_EQ(r.tokens, std::vector<int32_t>(free_run.tokens.begin(),
                                             free_run.tokens.begin() + static_cast<ptrdiff_t>(at)));
    EXPECT_EQ(r.text, rig.tokenizer.decode(r.tokens));
    options.ignore_eos = true;
    EXPECT_EQ(rig.run(options).tokens, free_run.tokens);
  };
  rig.model.spec.eos = {95000, end};
  expect_end();
  rig.model.spec.eos.clear();
  const OrderedJson config = {{"eos_token", rig.tokenizer.token(end).value()}};
  rig.tokenizer = test::tiny_tokenizer(dump_json(config));
  ASSERT_EQ(rig.tokenizer.eos_id(), end);
  expect_end();
}

TEST(Generate, ASinkThatSaysNoEndsIt) {
  const Rig rig;
  std::string joined;
  const GenerateResult r = rig.run(wild(100), [&](std::string_view piece) {
    joined += piece;
    return joined.size() < 10;
  });
  EXPECT_GE(joined.size(), 10u);
  EXPECT_LT(joined.size(), 20u);
  EXPECT_EQ(r.text, joined);
  EXPECT_LT(r.tokens.size(), 40u);
  EXPECT_EQ(rig.run(wild(100)).text.substr(0, joined.size()), joined);
}

TEST(Generate, IsTheSameForAnyNumberOfThreads) {
  const Rig rig;
  const GenerateResult expected = rig.run(wild(80));
  for (int threads : {1, 3}) {
    const Context context({.threads = threads});
    const DecoderModel model = load_model(context, test::model_data("llama"));
    TokenSession session(model, 200);
    const GenerateResult r = generate(session, model, rig.tokenizer, rig.prompt, wild(80));
    EXPECT_EQ(r.tokens, expected.tokens);
    EXPECT_EQ(r.text, expected.text);
  }
  EXPECT_NE(rig.run(wild(80, 6)).tokens, expected.tokens);
}

TEST(Generate, GoesOnInASessionThatHoldsText) {
  const Rig rig;
  TokenSession session(rig.model, 200);
  session.append(std::span(rig.prompt).first(2));
  const GenerateResult r =
      generate(session, rig.model, rig.tokenizer, std::span(rig.prompt).subspan(2), wild(20));
  EXPECT_EQ(r.tokens, rig.run(wild(20)).tokens);
  EXPECT_EQ(session.length(), 4 + 20);
}

TEST(Generate, GoesOnFromWhatItGeneratedItself) {
  const Rig rig;
  GenerateOptions options = {.max_tokens = 12, .sampler = {.temperature = 0}, .ignore_eos = true};
  const std::vector<int32_t> whole = rig.run(options).tokens;
  TokenSession session(rig.model, 200);
  options.max_tokens = 5;
  std::vector<int32_t> joined = generate(session, rig.model, rig.tokenizer, rig.prompt, options).tokens;
  EXPECT_EQ(session.length(), 9);
  options.max_tokens = 7;
  for (int32_t token : generate(session, rig.model, rig.tokenizer, {}, options).tokens) joined.push_back(token);
  EXPECT_EQ(joined, whole);
  session.truncate(9);
  EXPECT_EQ(generate(session, rig.model, rig.tokenizer, {}, options).tokens,
            std::vector<int32_t>(whole.begin() + 5, whole.end()));
  error_of([&] { session.truncate(17); }, ErrorCode::bad_call);
}

// SentencePiece's decoders drop the first space of a text; a continuation is not the start of one.
TEST(Generate, TheFirstSpaceOfAContinuationStays) {
  Rig rig;
  rig.tokenizer = test::tiny_metaspace_tokenizer();
  rig.prompt = rig.tokenizer.encode("the hen");
  const std::string before = rig.tokenizer.decode(rig.prompt);
  int began_with_space = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    GenerateOptions options = wild(2, seed);
    const GenerateResult r = rig.run(options);
    std::vector<int32_t> all = rig.prompt;
    all.insert(all.end(), r.tokens.begin(), r.tokens.end());
    EXPECT_EQ(before + r.text, rig.tokenizer.decode(all));
    began_with_space += r.text.starts_with(' ') ? 1 : 0;
    options.own_text = true;
    EXPECT_EQ(rig.run(options).text, rig.tokenizer.decode(r.tokens));
  }
  EXPECT_GT(began_with_space, 0);
}

TEST(GenerateResult, PercentilesAreOfTheSortedTimes) {
  GenerateResult r;
  EXPECT_EQ(r.token_percentile_s(0.5), 0);
  for (int i = 100; i >= 0; --i) r.token_s.push_back(i);
  EXPECT_EQ(r.token_percentile_s(0), 0);
  EXPECT_EQ(r.token_percentile_s(0.5), 50);
  EXPECT_EQ(r.token_percentile_s(0.99), 99);
  EXPECT_EQ(r.token_percentile_s(1), 100);
}

}  // namespace
}  // namespace codecllm
