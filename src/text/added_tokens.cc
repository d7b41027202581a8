// SPDX-License-Identifier: Apache-2.0
#include "text/added_tokens.h"

#include <algorithm>
#include <tuple>

#include "base/utf8.h"
#include "text/unicode.h"

namespace codecllm::text {

std::vector<AddedToken> load_added_tokens(const Json& list, Vocabulary& vocabulary, const std::string& file) {
  std::vector<AddedToken> tokens;
  if (list.is_null()) return tokens;
  if (!list.is_array()) throw_json_type("added_tokens", "a list", list, file);
  for (const Json& entry : list) {
    if (!entry.is_object()) throw_json_type("added_tokens", "a list of objects", entry, file);
    AddedToken token;
    token.id = json_need<int32_t>(entry, "id", file);
    token.content = json_need<std::string>(entry, "content", file);
    token.single_word = json_or(entry, "single_word", false, file);
    token.lstrip = json_or(entry, "lstrip", false, file);
    token.rstrip = json_or(entry, "rstrip", false, file);
    token.special = json_or(entry, "special", false, file);
    token.normalized = json_or(entry, "normalized", !token.special, file);
    if (token.content.empty()) continue;
    if (token.content.size() > 4096) {
      throw Error(ErrorCode::bad_input, "tokenizer",
                  "key 'content' of an added token is longer than 4096 bytes", {.file = file});
    }
    vocabulary.add(token.content, token.id, token.special);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::erase_if(tokens_, [](const AddedToken& token) { return token.content.empty(); });
  // Two tokens may have the same normalized form: the one with the lower id is found.
  std::sort(tokens_.begin(), tokens_.end(), [](const AddedToken& a, const AddedToken& b) {
    return std::tie(a.content, a.id) < std::tie(b.content, b.id);
  });
  for (const AddedToken& token : tokens_) first_bytes_.set(static_cast<unsigned char>(token.content[0]));
}

// Narrows the sorted tokens byte by byte to those that begin with what stands at `at`.
const AddedToken* AddedTokenFinder::longest_at(std::string_view text, size_t at) const {
  if (!first_bytes_[static_cast<unsigned char>(text[at])]) return nullptr;
  const AddedToken* longest = nullptr;
  auto low = tokens_.begin(), high = tokens_.end();
  for (size_t depth = 0; at + depth < text.size() && low != high; depth++) {
    const auto byte = static_cast<unsigned char>(text[at + depth]);
    // Tokens that are shorter than depth sort first; they are all equal to the text so far.
    const auto byte_at = [depth](const AddedToken& token) {
      return depth < token.content.size() ? static_cast<unsigned char>(token.content[depth]) : -1;
    };
    low = std::partition_point(low, high, [&](const AddedToken& token) { return byte_at(token) < byte; });
    high = std::partition_point(low, high, [&](const AddedToken& token) { return byte_at(token) <= byte; });
    if (low != high && low->content.size() == depth + 1) longest = &*low;
  }
  return longest;
}

namespace {

char32_t character_before(std::string_view text, size_t at) {
  do at--;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
  return decode_utf8(text, at).code;
}

bool stands_alone(std::string_view text, size_t begin, size_t end) {
  return (begin == 0 || !is_word(character_before(text, begin))) &&
         (end == text.size() || !is_word(decode_utf8(text, end).code));
}

size_t skip_whitespace_back(std::string_view text, size_t at, size_t limit) {
  while (at > limit) {
    const char32_t code = character_before(text, at);
    if (!is_whitespace(code)) break;
    do at--;
    while ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
  }
  return at;
}

size_t skip_whitespace(std::string_view text, size_t at) {
  while (at < text.size()) {
    const Utf8Step step = decode_utf8(text, at);
    if (!is_whitespace(step.code)) break;
    at += step.size;
  }
  return at;
}

}  // namespace

std::vector<AddedTokenFinder::Part> AddedTokenFinder::cut(std::string_view text, bool parse_special) const {
  std::vector<Part> parts;
  size_t done = 0;  // where the part before ended, with the whitespace it took
  for (size_t at = 0; at < text.size();) {
    const AddedToken* token = longest_at(text, at);
    if (token == nullptr) {
      at++;
      continue;
    }
    size_t begin = at, end = at + token->content.size();
    at = end;
    if (token->special && !parse_special) continue;
    if (token->single_word && !stands_alone(text, begin, end)) continue;
    if (token->lstrip) begin = skip_whitespace_back(text, begin, std::min(done, begin));
    if (token->rstrip) end = skip_whitespace(text, end);
    if (done < begin) parts.push_back({done, begin, -1});
    parts.push_back({begin, end, token->id});
    done = end;
  }
  if (done < text.size()) parts.push_back({done, text.size(), -1});
  return parts;
}

}  // namespace codecllm::text
