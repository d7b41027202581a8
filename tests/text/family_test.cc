// SPDX-License-Identifier: Apache-2.0
// Small tokenizers of every family against what the Hugging Face library does (tools/dump_tokens.py).
#include "text/support.h"

namespace codecllm {

using Ids = std::vector<int32_t>;

class Family : public testing::TestWithParam<const char*> {};

static void check_text(const Tokenizer& tokenizer, const Json& entry) {
  const auto text = entry["text"].get<std::string>();
  const Ids ids = entry["ids"].get<Ids>();
  const Ids plain = entry.contains("plain") ? entry["plain"].get<Ids>() : ids;
  const Ids raw = entry.contains("raw") ? entry["raw"].get<Ids>() : plain;
  EXPECT_EQ(tokenizer.encode(text), ids) << entry["text"];
  EXPECT_EQ(tokenizer.encode(text, false), plain) << entry["text"];
  EXPECT_EQ(tokenizer.encode(text, false, false), raw) << entry["text"];
}

static void check_ids(const Tokenizer& tokenizer, const Json& entry) {
  const Ids ids = entry["ids"].get<Ids>();
  const auto decoded = entry[entry.contains("decoded") ? "decoded" : "text"].get<std::string>();
  EXPECT_EQ(tokenizer.decode(ids), decoded) << json_text(entry);
  EXPECT_EQ(tokenizer.decode(ids, false), entry.contains("all") ? entry["all"].get<std::string>() : decoded)
      << json_text(entry);
}

TEST_P(Family, matches_the_reference) {
  const Json data = read_json_file(data_path(std::string("tokenizer_") + GetParam() + ".json"));
  const Tokenizer tokenizer = Tokenizer::from_json(json_text(data["tokenizer"]));
  for (const Json& entry : data["cases"]) {
    if (entry.contains("text")) check_text(tokenizer, entry);
    check_ids(tokenizer, entry);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Family,
                         testing::Values("gpt2", "gpt_neox", "opt", "llama3", "qwen2", "deepseek", "bloom",
                                         "o200k", "llama2", "mistral", "metaspace_always", "prefix", "suffix",
                                         "half_bytes"),
                         [](const auto& family) { return std::string(family.param); });

}  // namespace codecllm
