// SPDX-License-Identifier: Apache-2.0
// A byte-level tokenizer for the tiny models' 96 ids: three special tokens, single characters, two halves of
// a two-byte character, and merges.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "text/tokenizer.h"

namespace codecllm::test {

inline constexpr int32_t kTinyVocab = 96;

inline std::string tiny_tokenizer_json() {
  OrderedJson json = {{"version", "1.0"}};
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>", "Ġ",   "Ċ",  "Ã",
                                     "©",     "th",  "he",   "the", "in", "an"};
  json["added_tokens"] = OrderedJson::array();
  for (int id = 0; id < 3; ++id)
    json["added_tokens"].push_back({{"id", id},
                                    {"content", tokens[id]},
                                    {"single_word", false},
                                    {"lstrip", false},
                                    {"rstrip", false},
                                    {"normalized", false},
                                    {"special", true}});
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  json["post_processor"] = nullptr;
  json["decoder"] = {
      {"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  for (const char c :
       std::string("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?'-:;\"()[]/*+=_%#&@~|"))
    if (static_cast<int32_t>(tokens.size()) < kTinyVocab) tokens.push_back(std::string(1, c));
  OrderedJson vocabulary = OrderedJson::object();
  for (size_t id = 0; id < tokens.size(); ++id) vocabulary[tokens[id]] = id;
  json["model"] = {{"type", "BPE"},
                   {"fuse_unk", false},
                   {"byte_fallback", false},
                   {"vocab", vocabulary},
                   {"merges", {"t h", "h e", "th e", "i n", "a n"}}};
  return dump_json(json);
}

// The same with spaces as SentencePiece writes them: the decoder drops the first one of a text.
inline Tokenizer tiny_metaspace_tokenizer() {
  OrderedJson json = OrderedJson::parse(tiny_tokenizer_json());
  OrderedJson vocabulary = OrderedJson::object();
  for (const auto& [token, id] : json["model"]["vocab"].items()) vocabulary[token == "Ġ" ? "▁" : token] = id;
  json["model"]["vocab"] = vocabulary;
  json["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "always"}, {"split", true}};
  json["decoder"] = json["pre_tokenizer"];
  return Tokenizer::from_json(dump_json(json), "tokenizer.json", {});
}

inline Tokenizer tiny_tokenizer(std::string_view config = {}) {
  return Tokenizer::from_json(tiny_tokenizer_json(), "tokenizer.json", config);
}

}  // namespace codecllm::test
