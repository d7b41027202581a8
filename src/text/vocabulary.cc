// SPDX-License-Identifier: Apache-2.0
#include "text/vocabulary.h"

#include <algorithm>

namespace codecllm::text {

void Vocabulary::fail(const std::string& what) const {
  throw Error(ErrorCode::bad_input, "tokenizer", what, {.file = file_});
}

Vocabulary::Vocabulary(const Json& vocab, size_t extra, const std::string& file) : file_(file) {
  if (!vocab.is_object()) throw_json_type("vocab", "an object of tokens and ids", vocab, file);
  // Holes are allowed, but a small file must not make us allocate for two billion ids.
  id_limit_ = static_cast<int32_t>(std::min<size_t>((vocab.size() + extra) * 16 + (1 << 18), 1 << 30));
  ids_.reserve(vocab.size() + extra);
  for (const auto& [token, id] : vocab.items()) {
    if (!json_is<int32_t>(id)) throw_json_type(token.substr(0, 80).c_str(), "an id", id, file);
    put(token, id.get<int32_t>(), Kind::plain);
  }
}

void Vocabulary::put(const std::string& token, int32_t id, Kind kind) {
  const auto index = static_cast<size_t>(id);
  if (id < 0 || id >= id_limit_) {
    fail("token '" + token.substr(0, 80) + "' has id " + std::to_string(id) + ", expected 0 to " +
         std::to_string(id_limit_ - 1) + " in a vocabulary of this size");
  }
  if (index >= tokens_.size()) {
    tokens_.resize(index + 1);
    kinds_.resize(index + 1, Kind::hole);
  }
  if (kinds_[index] != Kind::hole) {
    fail("id " + std::to_string(id) + " is given twice, to '" + tokens_[index].substr(0, 80) + "' and '" +
         token.substr(0, 80) + "'");
  }
  tokens_[index] = token;
  kinds_[index] = kind;
  ids_.emplace(token, id);
}

void Vocabulary::add(const std::string& token, int32_t id, bool special) {
  const Kind kind = special ? Kind::special : Kind::plain;
  const auto known = ids_.find(token);
  if (known == ids_.end()) return put(token, id, kind);
  if (known->second != id) {
    fail("added token '" + token.substr(0, 80) + "' has id " + std::to_string(id) +
         ", but 'vocab' gives it " + std::to_string(known->second));
  }
  kinds_[static_cast<size_t>(id)] = kind;
}

std::optional<int32_t> Vocabulary::id(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::optional<std::string_view> Vocabulary::token(int32_t id) const {
  if (id < 0 || id >= size() || kinds_[static_cast<size_t>(id)] == Kind::hole) return std::nullopt;
  return tokens_[static_cast<size_t>(id)];
}

}  // namespace codecllm::text
