// SPDX-License-Identifier: Apache-2.0
// Tokenizers inside GGUF files: byte-level ones against the tokenizer.json they are made from, SentencePiece ones against
// its algorithm done naively.
#include <gtest/gtest.h>

#include "io/gguf_model.h"
#include "paths.h"
#include "text/tokenizer.h"

namespace codecllm {
namespace {

struct Source {
  Json tokenizer;
  std::vector<std::string> texts;
};

Source source_of(const std::string& name) {
  const Json all = read_json_file(test::source_path("tests/text/data/tokenizer_" + name + ".json"));
  Source out = {all.at("tokenizer"), {}};
  for (const Json& one : all.at("cases"))
    if (one.contains("text")) out.texts.push_back(one.at("text").get<std::string>());
  // Added tokens in GGUF have no flags.
  for (Json& token : out.tokenizer["added_tokens"])
    for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) token[flag] = false;
  return out;
}

Json metadata_of(const Json& tokenizer, const std::string& kind) {
  std::map<int64_t, std::string> tokens;
  std::map<int64_t, int> types;
  for (const auto& [text, id] : tokenizer.at("model").at("vocab").items()) {
    tokens[id.get<int64_t>()] = text;
    types[id.get<int64_t>()] = text.size() == 6 && text.starts_with("<0x") ? 6 : 1;
  }
  for (const Json& added : tokenizer.at("added_tokens")) {
    tokens[added.at("id").get<int64_t>()] = added.at("content").get<std::string>();
    types[added.at("id").get<int64_t>()] = added.at("special").get<bool>() ? 3 : 4;
  }
  Json out = {{"tokenizer.ggml.model", kind}, {"tokenizer.ggml.tokens", Json::array()}, {"tokenizer.ggml.token_type", Json::array()}};
  for (const auto& [id, text] : tokens) {
    EXPECT_EQ(id, static_cast<int64_t>(out["tokenizer.ggml.tokens"].size())) << "a hole";
    out["tokenizer.ggml.tokens"].push_back(text);
    out["tokenizer.ggml.token_type"].push_back(types[id]);
  }
  return out;
}

Tokenizer made(const Json& metadata) {
  const GgufTokenizer json = gguf_tokenizer(metadata, "f.gguf");
  return Tokenizer::from_json(json_text(json.tokenizer), "f.gguf", json_text(json.config));
}

void expect_same_as_json(const std::string& name, const std::string& pre, std::optional<int> bos) {
  const Source source = source_of(name);
  Json metadata = metadata_of(source.tokenizer, "gpt2");
  metadata["tokenizer.ggml.pre"] = pre;
  if (bos) metadata["tokenizer.ggml.bos_token_id"] = *bos;
  for (const Json& merge : source.tokenizer["model"]["merges"])
    metadata["tokenizer.ggml.merges"].push_back(merge.is_string() ? merge.get<std::string>()
                                                                  : merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  const Tokenizer ours = made(metadata), original = Tokenizer::from_json(json_text(source.tokenizer));
  for (const std::string& text : source.texts) {
    EXPECT_EQ(ours.encode(text), original.encode(text)) << text;
    EXPECT_EQ(ours.decode(ours.encode(text), false), original.decode(original.encode(text), false)) << text;
  }
}

TEST(GgufTokenizer, ByteLevelKindsAreTheirTokenizerJson) {
  expect_same_as_json("gpt2", "gpt-2", std::nullopt);
  expect_same_as_json("qwen2", "qwen2", std::nullopt);
  expect_same_as_json("llama3", "llama-bpe", 0);
}

// Scores as SentencePiece has them: the earlier a token was made, the better.
Json sentence_piece_metadata() {
  const Source source = source_of("llama2");
  Json metadata = metadata_of(source.tokenizer, "llama");
  std::map<std::string, double> scores;
  double rank = 0;
  for (const Json& merge : source.tokenizer["model"]["merges"]) scores.emplace(merge[0].get<std::string>() + merge[1].get<std::string>(), -rank++);
  for (const Json& token : metadata["tokenizer.ggml.tokens"]) {
    const auto it = scores.find(token.get<std::string>());
    metadata["tokenizer.ggml.scores"].push_back(it == scores.end() ? -10000.0 : it->second);
  }
  metadata["tokenizer.ggml.bos_token_id"] = 1;
  metadata["tokenizer.ggml.eos_token_id"] = 2;
  metadata["tokenizer.ggml.unknown_token_id"] = 0;
  return metadata;
}

// Joins the neighbours whose union scores best, the leftmost of equals, until none is a token.
std::vector<std::string> naive_pieces(const Json& metadata, const std::string& text) {
  std::map<std::string, double> scores;
  for (size_t i = 0; i < metadata["tokenizer.ggml.tokens"].size(); ++i)
    if (metadata["tokenizer.ggml.token_type"][i] == 1)
      scores[metadata["tokenizer.ggml.tokens"][i].get<std::string>()] = metadata["tokenizer.ggml.scores"][i].get<double>();
  std::vector<std::string> pieces;
  for (char c : text) {
    if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) pieces.emplace_back();
    pieces.back() += c;
  }
  while (true) {
    size_t best = pieces.size();
    double best_score = -1e30;
    for (size_t i = 0; i + 1 < pieces.size(); ++i) {
      const auto it = scores.find(pieces[i] + pieces[i + 1]);
      if (it != scores.end() && it->second > best_score) best = i, best_score = it->second;
    }
    if (best == pieces.size()) return pieces;
    pieces[best] += pieces[best + 1];
    pieces.erase(pieces.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

TEST(GgufTokenizer, SentencePiecesJoinByScore) {
  const Json metadata = sentence_piece_metadata();
  const Tokenizer tokenizer = made(metadata);
  int compared = 0;
  for (const std::string text : {"the rain in the mountains", "a  double  space", "this that then there another", "Hello world, said nobody ever"}) {
    std::string spaced = " " + text, marked;
    for (char c : spaced) c == ' ' ? marked += "\u2581" : marked += c;
    std::vector<int32_t> expected = {1};
    bool known = true;
    for (const std::string& piece : naive_pieces(metadata, marked)) {
      if (const auto id = tokenizer.id(piece)) {
        expected.push_back(*id);
        continue;
      }
      known = known && !piece.empty();
      for (char c : piece) {
        char name[8];
        std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned char>(c));
        expected.push_back(*tokenizer.id(name));
      }
    }
    EXPECT_EQ(tokenizer.encode(text), expected) << text;
    EXPECT_EQ(tokenizer.decode(expected), text);
    ++compared;
  }
  EXPECT_EQ(compared, 4);
}

TEST(GgufTokenizer, FlagsOfTheFile) {
  Json metadata = sentence_piece_metadata();
  metadata["tokenizer.ggml.add_bos_token"] = false;
  metadata["tokenizer.ggml.add_eos_token"] = true;
  metadata["tokenizer.ggml.add_space_prefix"] = false;
  metadata["tokenizer.chat_template"] = "{{ bos_token }}";
  const Tokenizer tokenizer = made(metadata);
  const std::vector<int32_t> ids = tokenizer.encode("the");
  EXPECT_EQ(ids.back(), 2);
  EXPECT_NE(ids.front(), 1);
  EXPECT_EQ(tokenizer.decode(ids), "the");
  EXPECT_EQ(tokenizer.chat_template(), "{{ bos_token }}");
}

std::string refusal_of(const Json& metadata) {
  try {
    gguf_tokenizer(metadata, "f.gguf");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(GgufTokenizer, WhatIsWrongIsSaid) {
  const Json good = sentence_piece_metadata();
  const auto with = [&](const char* key, const Json& value) {
    Json changed = good;
    changed[key] = value;
    return refusal_of(changed);
  };
  EXPECT_EQ(refusal_of(good), "");
  EXPECT_NE(with("tokenizer.ggml.model", "t5").find("kind 't5' is not in this version"), std::string::npos);
  EXPECT_NE(with("tokenizer.ggml.scores", Json::array({1.0})).find("scores is not a list of one entry for each token"), std::string::npos);
  EXPECT_NE(with("tokenizer.ggml.token_type", 3).find("token_type is not a list"), std::string::npos);
  EXPECT_NE(with("tokenizer.ggml.bos_token_id", 100000).find("is 100000, which is no token"), std::string::npos);
  EXPECT_NE(with("tokenizer.ggml.tokens", Json::array({"\xFF"})).find("no UTF-8"), std::string::npos);
  Json bytes = good;
  bytes["tokenizer.ggml.model"] = "gpt2";
  EXPECT_NE(refusal_of(bytes).find("no list tokenizer.ggml.merges"), std::string::npos);
  bytes["tokenizer.ggml.pre"] = "tomorrow";
  EXPECT_NE(refusal_of(bytes).find("'tomorrow', which is not in this version; there are: default, gpt-2"), std::string::npos);
}

}  // namespace
}  // namespace codecllm
