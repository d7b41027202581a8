// SPDX-License-Identifier: Apache-2.0
// What a loaded Tokenizer holds; shared by loading, encoding and decoding.
#pragma once

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/component.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"

namespace codecllm {

struct Tokenizer::Data {
  Data(const Json& model, const Json& added, const std::string& name)
      : vocabulary(model.contains("vocab") ? model["vocab"] : Json(), added.size(), name),
        added_tokens(text::load_added_tokens(added, vocabulary, name)),
        bpe(model, vocabulary, name) {}
  Data(const Data&) = delete;  // bpe refers to vocabulary

  text::Vocabulary vocabulary;
  std::vector<text::AddedToken> added_tokens;
  text::Bpe bpe;

  text::AddedTokenFinder raw_tokens, normalized_tokens;
  text::Normalizer normalizer;
  text::PreTokenizer pretokenizer;
  text::Decoder decoder;

  // Added tokens that stand for their normalized form in decoded text, where that differs from their content.
  std::unordered_map<int32_t, std::string> normalized_texts;

  std::vector<int32_t> before, after;  // what add_special puts around a text
  std::optional<int32_t> bos, eos;
  std::string chat_template;
};

}  // namespace codecllm
