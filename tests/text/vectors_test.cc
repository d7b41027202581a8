// SPDX-License-Identifier: Apache-2.0
// Whole vocabularies against the test vectors of llama.cpp, where both are at hand. The vectors carry no BOS.
#include <fmt/format.h>

#include <sstream>

#include "paths.h"
#include "text/support.h"

namespace codecllm {

static const std::string folder = test::source_path("../shared/tokenizers/");

static std::vector<std::string> read_texts(const std::string& path) {
  const std::string all = read_file(path), separator = "\n__ggml_vocab_test__\n";
  std::vector<std::string> texts;
  size_t at = 0;
  for (size_t end; (end = all.find(separator, at)) != std::string::npos; at = end + separator.size()) {
    texts.push_back(all.substr(at, end - at));
  }
  return texts;
}

static void check_vectors(const Tokenizer& tokenizer, const std::string& name) {
  const auto texts = read_texts(folder + "vectors/" + name + ".inp");
  std::istringstream lines(read_file(folder + "vectors/" + name + ".out"));
  ASSERT_GT(texts.size(), 40u);
  for (const std::string& text : texts) {
    std::string line;
    ASSERT_TRUE(std::getline(lines, line));
    std::istringstream numbers(line);
    std::vector<int32_t> expected;
    for (int32_t id; numbers >> id;) expected.push_back(id);
    EXPECT_EQ(tokenizer.encode(text, false), expected) << "'" << text << "'";
    EXPECT_EQ(tokenizer.decode(expected, false), text);
  }
}

// Llama-3's tokenizer.json, put together from the vocabulary and the merges.
static std::string llama3_json() {
  const std::string r1 =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  Json merges = Json::array();
  std::istringstream lines(read_file(folder + "llama3-bpe/vocab.bpe"));
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && !line.starts_with("#version")) merges.push_back(line);
  }
  const Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  const Json split = {
      {"type", "Split"}, {"pattern", {{"Regex", r1}}}, {"behavior", "Isolated"}, {"invert", false}};
  const Json root = {{"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, byte_level}}}},
                     {"decoder", byte_level},
                     {"model",
                      {{"type", "BPE"},
                       {"ignore_merges", true},
                       {"vocab", read_json_file(folder + "llama3-bpe/encoder.json")},
                       {"merges", merges}}}};
  return json_text(root);
}

TEST(Vectors, gpt2) {
  if (!file_exists(folder + "gpt2-hf/tokenizer.json")) GTEST_SKIP() << "no vocabularies here";
  const Tokenizer tokenizer = Tokenizer::load(folder + "gpt2-hf");
  EXPECT_EQ(tokenizer.vocab_size(), 50257);
  EXPECT_EQ(tokenizer.id("<|endoftext|>"), 50256);
  EXPECT_EQ(tokenizer.token(220), "\u0120");
  check_vectors(tokenizer, "gpt-2");
}

TEST(Vectors, llama2_and_phi3) {
  if (!file_exists(folder + "llama2-hf/tokenizer.json")) GTEST_SKIP() << "no vocabularies here";
  const Tokenizer tokenizer = Tokenizer::load(folder + "llama2-hf");
  EXPECT_EQ(tokenizer.bos_id(), 1);
  EXPECT_EQ(tokenizer.eos_id(), 32000);
  EXPECT_THAT(tokenizer.chat_template(), testing::HasSubstr("<|assistant|>"));
  check_vectors(tokenizer, "phi-3");
  check_vectors(tokenizer, "llama-spm");
}

TEST(Vectors, llama3) {
  if (!file_exists(folder + "llama3-bpe/vocab.bpe")) GTEST_SKIP() << "no vocabularies here";
  check_vectors(Tokenizer::from_json(llama3_json(), "llama3"), "llama-bpe");
}

TEST(Vectors, pythia_has_runs_of_spaces) {
  if (!file_exists(folder + "pythia-neox/tokenizer.json")) GTEST_SKIP() << "no vocabularies here";
  const Tokenizer tokenizer = Tokenizer::load(folder + "pythia-neox");
  const auto ids = tokenizer.encode("    x" + std::string(30, ' ') + "y");
  EXPECT_EQ(ids.front(), 50274);
  EXPECT_EQ(tokenizer.decode(ids), "    x" + std::string(30, ' ') + "y");
}

}  // namespace codecllm
