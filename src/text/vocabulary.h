// SPDX-License-Identifier: Apache-2.0
// Tokens by id and ids by token, for the model's vocabulary and the added tokens together.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"

namespace codecllm::text {

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

class Vocabulary {
 public:
  // `vocab` is the object token -> id of tokenizer.json. Ids may leave holes; `extra` more tokens will be
  // added.
  Vocabulary(const Json& vocab, size_t extra, const std::string& file);

  // Throws Error(bad_input) when the id is another token's or the token has another id.
  void add(const std::string& token, int32_t id, bool special);

  std::optional<int32_t> id(std::string_view token) const;
  std::optional<std::string_view> token(int32_t id) const;
  bool is_special(int32_t id) const { return kinds_[static_cast<size_t>(id)] == Kind::special; }
  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }  // the highest id + 1

 private:
  enum class Kind : uint8_t { hole, plain, special };

  void put(const std::string& token, int32_t id, Kind kind);
  [[noreturn]] void fail(const std::string& what) const;

  std::string file_;
  int32_t id_limit_;
  std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>> ids_;
  std::vector<std::string> tokens_;
  std::vector<Kind> kinds_;
};

}  // namespace codecllm::text
