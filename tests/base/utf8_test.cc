// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

#include <gtest/gtest.h>

namespace codecllm {
namespace {

TEST(Utf8, EveryCharacterComesBack) {
  for (char32_t code = 0; code <= 0x10FFFF; ++code) {
    if (code >= 0xD800 && code <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, code);
    const Utf8Step step = decode_utf8(text, 0);
    ASSERT_TRUE(step.valid && step.code == code && step.size == text.size()) << static_cast<uint32_t>(code);
    ASSERT_TRUE(is_utf8(text));
    for (size_t cut = 1; cut < text.size(); ++cut) {
      ASSERT_TRUE(decode_utf8(text.substr(0, cut), 0).truncated) << static_cast<uint32_t>(code);
      ASSERT_EQ(incomplete_utf8_tail("a" + text.substr(0, cut)), cut) << static_cast<uint32_t>(code);
    }
  }
}

// The Unicode standard's counts: no overlong forms, no surrogates, nothing above U+10FFFF.
TEST(Utf8, NothingElseIsACharacter) {
  const auto valid = [](std::initializer_list<int> bytes) {
    std::string text;
    for (int byte : bytes) text += static_cast<char>(byte);
    const Utf8Step step = decode_utf8(text, 0);
    return step.valid && step.size == text.size();
  };
  int one = 0, two = 0, three = 0;
  for (int a = 0; a < 256; ++a) {
    one += valid({a});
    for (int b = 0; b < 256; ++b) {
      two += valid({a, b});
      for (int c = 0; a >= 0xE0 && a <= 0xEF && c < 256; ++c) three += valid({a, b, c});
    }
  }
  EXPECT_EQ(one, 128);
  EXPECT_EQ(two, 0x800 - 0x80);
  EXPECT_EQ(three, 0x10000 - 0x800 - 0x800);
  int four = 0;  // of those whose last two bytes are the least
  for (int a = 0xF0; a < 256; ++a)
    for (int b = 0; b < 256; ++b) four += valid({a, b, 0x80, 0x80});
  EXPECT_EQ(four, 0x110000 / 0x1000 - 0x10000 / 0x1000);
  EXPECT_FALSE(valid({0xF1, 0x80, 0x80, 0x7F}) || valid({0xF1, 0x80, 0xC0, 0x80}));
}

TEST(Utf8, EverySequenceThatIsNoneBecomesOneReplacement) {
  const std::string mark = "\xEF\xBF\xBD";
  EXPECT_EQ(to_valid_utf8("a\xFFz"), "a" + mark + "z");
  EXPECT_EQ(to_valid_utf8("\xE2\x82z"), mark + "z");        // one begun character
  EXPECT_EQ(to_valid_utf8("\xE2\x28\xA1"), mark + "(" + mark);
  EXPECT_EQ(to_valid_utf8("\xF0\x9F\x98"), mark);
  EXPECT_EQ(to_valid_utf8("\xC0\xAF"), mark + mark);
}

}  // namespace
}  // namespace codecllm
