// SPDX-License-Identifier: Apache-2.0
// Properties: streams give what decode gives, in whole characters; byte-level models lose nothing.
#include <random>
#include <thread>

#include "base/utf8.h"
#include "text/support.h"

namespace codecllm {

static Tokenizer family(const std::string& name) {
  return Tokenizer::from_json(json_text(read_json_file(data_path("tokenizer_" + name + ".json"))["tokenizer"]),
                              name);
}

static std::string random_text(std::mt19937& random, size_t length) {
  std::string out;
  for (size_t i = 0; i < length; i++) {
    static constexpr char32_t limits[] = {0x80, 0x80, 0x80, 0x800, 0x3000, 0x10000, 0x110000};
    char32_t code = random() % limits[random() % 7];
    if (code >= 0xD800 && code < 0xE000) code = ' ';
    append_utf8(out, code);
  }
  return out;
}

TEST(Stream, pieces_are_whole_and_join_to_decode) {
  std::mt19937 random(1);
  for (const char* name :
       {"gpt2", "llama2", "mistral", "metaspace_always", "suffix", "half_bytes", "qwen2"}) {
    const Tokenizer tokenizer = family(name);
    for (int round = 0; round < 300; round++) {
      const bool skip = random() % 2 == 0;
      std::vector<int32_t> ids(random() % 40);
      // Byte tokens, which are the first ones, more often than the others.
      for (int32_t& id : ids) id = static_cast<int32_t>(random() % (random() % 2 == 0 ? 262 : 800)) - 1;
      StreamDecoder stream(tokenizer, skip);
      std::string joined;
      for (const int32_t id : ids) {
        const std::string piece = stream.push(id);
        EXPECT_TRUE(is_utf8(piece));
        joined += piece;
      }
      joined += stream.finish();
      EXPECT_TRUE(is_utf8(joined));
      EXPECT_EQ(joined, tokenizer.decode(ids, skip)) << name;
    }
  }
}

TEST(Stream, byte_level_characters_leave_as_soon_as_they_are_whole) {
  const Tokenizer tokenizer = family("gpt2");
  const auto ids = tokenizer.encode("\U0001F9D9x", false);
  StreamDecoder stream(tokenizer);
  std::vector<std::string> pieces;
  for (const int32_t id : ids) pieces.push_back(stream.push(id));
  EXPECT_EQ(pieces.back(), "x");
  EXPECT_EQ(pieces.front(), "");
  EXPECT_EQ(stream.finish(), "");
  // Half a character at the end is one U+FFFD.
  EXPECT_EQ(stream.push(ids.front()), "");
  EXPECT_EQ(stream.finish(), "\uFFFD");
}

TEST(RoundTrip, byte_level_models_lose_nothing) {
  std::mt19937 random(2);
  for (const char* name : {"gpt2", "llama3", "deepseek", "bloom", "o200k", "opt"}) {
    const Tokenizer tokenizer = family(name);
    for (int round = 0; round < 200; round++) {
      const std::string text = random_text(random, random() % 60);
      EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, false), false), text) << name;
    }
  }
}

TEST(RoundTrip, invalid_bytes_count_as_replacement_characters) {
  const Tokenizer tokenizer = family("gpt2");
  const auto decoded = [&](std::string_view text) { return tokenizer.decode(tokenizer.encode(text)); };
  EXPECT_EQ(decoded("a\xFFz"), "a\uFFFDz");
  EXPECT_EQ(decoded("\xE2\x96"), "\uFFFD");  // one character cut short
  EXPECT_EQ(decoded("\xE2\x96\x41"),
            "\uFFFD"
            "A");
  EXPECT_EQ(decoded("\xC0\xAF"), "\uFFFD\uFFFD");            // overlong
  EXPECT_EQ(decoded("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");  // surrogate
  EXPECT_EQ(decoded("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  std::mt19937 random(3);
  for (int round = 0; round < 500; round++) {
    std::string bytes(random() % 50, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    EXPECT_EQ(decoded(bytes), to_valid_utf8(bytes));
  }
}

TEST(Threads, may_share_a_tokenizer) {
  const Tokenizer tokenizer = family("qwen2");
  const std::string text = "The quick brown fox, 12345 times; \u00e9t\u00e9 \u6a21\u578b\n";
  const auto expected = tokenizer.encode(text);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; i++) {
    threads.emplace_back([&] {
      for (int round = 0; round < 50; round++) EXPECT_EQ(tokenizer.encode(text), expected);
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST(Config, decides_about_bos_and_eos) {
  const std::string json = json_text(read_json_file(data_path("tokenizer_llama2.json"))["tokenizer"]);
  const auto ids = [&](const char* config) {
    return Tokenizer::from_json(json, "t.json", config).encode("a");
  };
  const auto plain = Tokenizer::from_json(json).encode("a", false);
  auto with_bos = plain, with_eos = plain;
  with_bos.insert(with_bos.begin(), 1);
  with_eos.push_back(2);
  EXPECT_EQ(ids(R"({"bos_token": "<s>"})"), with_bos);
  EXPECT_EQ(ids(R"({"bos_token": "<s>", "add_bos_token": true})"), with_bos);
  EXPECT_EQ(ids(R"({"bos_token": "<s>", "add_bos_token": false})"), plain);
  EXPECT_EQ(ids(R"({"eos_token": {"content": "</s>"}, "add_bos_token": false, "add_eos_token": true})"),
            with_eos);
  expect_error(ErrorCode::bad_input, "add_bos_token", [&] { ids(R"({"add_bos_token": "yes"})"); });
}

}  // namespace codecllm
