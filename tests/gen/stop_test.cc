// SPDX-License-Identifier: Apache-2.0
// Strings at which a text stops.
#include <gtest/gtest.h>

#include "gen/generate.h"
#include "gen/tiny_tokenizer.h"
#include "quant/support.h"

namespace codecllm {
namespace {

struct Case {
  const char* text;
  std::vector<std::string> stops;
  size_t certain;
  bool stopped;
};

TEST(CertainPrefix, ShowsWhatCannotBeginAStop) {
  const Case cases[] = {
      {"", {}, 0, false},
      {"", {"x"}, 0, false},
      {"abc", {}, 3, false},
      {"abc", {""}, 3, false},
      {"abc", {"x"}, 3, false},
      {"abc", {"c"}, 2, true},
      {"abc", {"abc"}, 0, true},
      {"abc", {"abcd"}, 0, false},
      {"abc", {"bcd"}, 1, false},
      {"abc", {"cd"}, 2, false},
      {"abc", {"cd", "bcx"}, 1, false},  // the longest tail that may begin any of them
      {"abc", {"bx", "c"}, 2, true},
      {"xabyab", {"ab"}, 1, true},        // the first occurrence
      {"xabyab", {"by", "ab"}, 1, true},  // the earliest of several, whatever their order
      {"xabyab", {"ab", "by"}, 1, true},
      {"abab", {"ababc"}, 0, false},
      {"xabab", {"abc"}, 3, false},  // a shorter tail than the one that just failed
      {"aaa", {"aaaa"}, 0, false},
      {"baaa", {"aaaa"}, 1, false},
      {"aaaa", {"aa"}, 0, true},
      {"ab", {"b", "abc"}, 1, true},  // a whole match counts before a possible longer one
      {"caf\xC3\xA9", {"\xC3\xA9t"}, 3, false},
  };
  for (const Case& c : cases) {
    bool stopped = !c.stopped;
    EXPECT_EQ(certain_prefix(c.text, c.stops, &stopped), c.certain) << c.text;
    EXPECT_EQ(stopped, c.stopped) << c.text;
  }
}

class Stop : public ::testing::Test {
 protected:
  DecoderModel model_ = load_model(test::two_threads(), test::model_data("llama"));
  Tokenizer tokenizer_ = test::tiny_tokenizer();
  std::vector<int32_t> prompt_ = tokenizer_.encode("in the");

  GenerateResult run(std::vector<std::string> stops, int64_t tokens = 30) {
    GenerateOptions options;
    options.max_tokens = tokens;
    options.sampler = {.temperature = 2, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 11};
    options.ignore_eos = true;
    options.stop = std::move(stops);
    shown_.clear();
    TokenSession session(model_, 100);
    return generate(session, model_, tokenizer_, prompt_, options, [&](std::string_view piece) {
      shown_ += piece;
      return true;
    });
  }

  // How many tokens must come before their text holds `stop`.
  size_t tokens_until(const std::vector<int32_t>& tokens, const std::string& stop) {
    for (size_t n = 1; n < tokens.size(); ++n)
      if (tokenizer_.decode(std::span(tokens).first(n)).find(stop) != std::string::npos) return n;
    return tokens.size();
  }

  std::string shown_;
};

// Every substring of up to five bytes that is plain ASCII, most of which span tokens.
TEST_F(Stop, EveryPieceOfTheTextCanStopIt) {
  const GenerateResult whole = run({});
  int tried = 0;
  for (size_t begin = 0; begin < whole.text.size(); ++begin)
    for (size_t length = 1; length <= 5 && begin + length <= whole.text.size(); ++length) {
      const std::string stop = whole.text.substr(begin, length);
      if (std::any_of(stop.begin(), stop.end(), [](char c) { return (c & 0x80) != 0; })) continue;
      const GenerateResult r = run({"never there", stop});
      ++tried;
      ASSERT_EQ(r.finish, "stop") << stop;
      ASSERT_EQ(r.text, whole.text.substr(0, whole.text.find(stop))) << stop;
      ASSERT_EQ(shown_, r.text) << stop;
      ASSERT_EQ(r.tokens.size(), tokens_until(whole.tokens, stop)) << stop;
    }
  EXPECT_GT(tried, 60);
}

TEST_F(Stop, ThePartOfAStopAtTheEndIsShownAfterAll) {
  const GenerateResult whole = run({});
  for (size_t tail = 1; tail <= 6; ++tail) {
    const GenerateResult r = run({whole.text.substr(whole.text.size() - tail) + "..."});
    EXPECT_EQ(r.finish, "length");
    EXPECT_EQ(r.text, whole.text) << tail;
    EXPECT_EQ(shown_, whole.text) << tail;
  }
}

TEST_F(Stop, TheEarliestOfSeveralWins) {
  const GenerateResult whole = run({});
  const std::string early = whole.text.substr(0, 1), late = whole.text.substr(12, 3);
  EXPECT_EQ(run({late, early}).text, "");
  EXPECT_EQ(run({early, late}).text, "");
}

}  // namespace
}  // namespace codecllm
