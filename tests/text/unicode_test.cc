// SPDX-License-Identifier: Apache-2.0
#include "text/unicode.h"

#include "text/support.h"

namespace codecllm::text {

// The engine's limits are sums over a whole text, so they have to grow with it.
TEST(Regex, ReadsLongHonestTexts) {
  const Regex words(R"(\s+(?!\S)|\s?\S+|\s+)", "tokenizer.json");
  std::string text;
  while (text.size() < 10'000'000) text += "the hen has seven eggs. ";
  std::vector<Match> matches;
  words.find_all(text, matches);
  EXPECT_EQ(matches.size(), text.size() / 24 * 5 + 1);
  EXPECT_EQ(matches.back().end, text.size());
}

TEST(Regex, ReadsLongRunsOfSpaces) {
  const Regex spaces(R"(\s+(?!\S)|\s+)", "tokenizer.json");
  std::vector<Match> matches;
  spaces.find_all(std::string(3'000'000, ' ') + "x", matches);
  ASSERT_EQ(matches.size(), 2u);
  EXPECT_EQ(matches[0].end, 2'999'999u);
}

}  // namespace codecllm::text
