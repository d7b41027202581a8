// SPDX-License-Identifier: Apache-2.0
#include "text/bpe.h"

#include <fmt/format.h>

#include <queue>

#include "base/utf8.h"

namespace codecllm::text {

void MergeTable::reserve(size_t count) {
  size_t size = 16;
  while (size < count * 2) size *= 2;
  slots_.assign(size, {});
}

size_t MergeTable::slot_of(uint64_t key) const {
  // Fibonacci hashing: the high half of the product mixes both ids.
  size_t slot = static_cast<size_t>(key * 0x9E3779B97F4A7C15u >> 32) & (slots_.size() - 1);
  while (slots_[slot].merge.rank >= 0 && slots_[slot].key != key) slot = (slot + 1) & (slots_.size() - 1);
  return slot;
}

void MergeTable::put(int32_t left, int32_t right, Merge merge) {
  const uint64_t key = key_of(left, right);
  slots_[slot_of(key)] = {key, merge};
}

Bpe::Bpe(const Json& model, const Vocabulary& vocabulary, const std::string& file) : vocabulary_(vocabulary) {
  fuse_unknown_ = json_or(model, "fuse_unk", false, file);
  byte_fallback_ = json_or(model, "byte_fallback", false, file);
  ignore_merges_ = json_or(model, "ignore_merges", false, file);
  prefix_ = json_or<std::string>(model, "continuing_subword_prefix", "", file);
  suffix_ = json_or<std::string>(model, "end_of_word_suffix", "", file);
  if (const auto unknown = json_find<std::string>(model, "unk_token", file)) {
    unknown_ = vocabulary.id(*unknown);
    if (!unknown_) {
      throw Error(ErrorCode::bad_input, "tokenizer",
                  "key 'unk_token' names '" + *unknown + "', which is no token", {.file = file});
    }
  }
  for (size_t byte = 0; byte < 256; byte++) byte_ids_[byte] = vocabulary.id(fmt::format("<0x{:02X}>", byte));
  const auto merges = model.find("merges");
  if (merges == model.end() || !merges->is_array()) {
    throw Error(ErrorCode::bad_input, "tokenizer", "key 'merges' is not a list", {.file = file});
  }
  load_merges(*merges, file);
}

void Bpe::load_merges(const Json& merges, const std::string& file) {
  merges_.reserve(merges.size());
  int32_t rank = 0;
  for (const Json& entry : merges) {
    std::string_view left, right;
    if (entry.is_string()) {
      const std::string_view pair = entry.get_ref<const std::string&>();
      const size_t space = pair.find(' ');
      if (space != std::string_view::npos && pair.find(' ', space + 1) == std::string_view::npos) {
        left = pair.substr(0, space);
        right = pair.substr(space + 1);
      }
    } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      left = entry[0].get_ref<const std::string&>();
      right = entry[1].get_ref<const std::string&>();
    }
    if (left.empty() || right.empty()) throw_json_type("merges", "a pair of tokens", entry, file);
    load_merge(left, right, rank++, file);
  }
}

void Bpe::load_merge(std::string_view left, std::string_view right, int32_t rank, const std::string& file) {
  std::string_view tail = right;
  if (tail.starts_with(prefix_)) tail.remove_prefix(prefix_.size());
  const std::string merged = std::string(left) + std::string(tail);
  const auto left_id = vocabulary_.id(left), right_id = vocabulary_.id(right),
             merged_id = vocabulary_.id(merged);
  if (!left_id || !right_id || !merged_id) {
    const std::string missing(!left_id ? left : !right_id ? right : std::string_view(merged));
    throw Error(
        ErrorCode::bad_input, "tokenizer",
        fmt::format("key 'merges': entry {} needs '{}', which is no token", rank, missing.substr(0, 80)),
        {.file = file});
  }
  merges_.put(*left_id, *right_id, {rank, *merged_id});
}

void Bpe::encode(std::string_view piece, std::vector<int32_t>& ids) const {
  if (piece.empty()) return;
  if (ignore_merges_) {
    if (const auto id = vocabulary_.id(piece)) {
      ids.push_back(*id);
      return;
    }
  }
  std::vector<int32_t> symbols;
  to_symbols(piece, symbols);
  merge(symbols);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

bool Bpe::append_bytes(std::string_view symbol, std::vector<int32_t>& symbols) const {
  for (const char byte : symbol) {
    if (!byte_ids_[static_cast<unsigned char>(byte)]) return false;
  }
  for (const char byte : symbol) symbols.push_back(*byte_ids_[static_cast<unsigned char>(byte)]);
  return true;
}

void Bpe::to_symbols(std::string_view piece, std::vector<int32_t>& symbols) const {
  symbols.reserve(piece.size());
  bool unknown_open =
      false;  // the reference holds an unknown back until a known symbol or another unknown follows
  std::string decorated;
  for_each_character(piece, [&](char32_t, size_t begin, size_t end) {
    std::string_view symbol = piece.substr(begin, end - begin);
    const bool continues = begin > 0 && !prefix_.empty(), ends = end == piece.size() && !suffix_.empty();
    if (continues || ends) {
      decorated = (continues ? prefix_ : "") + std::string(symbol) + (ends ? suffix_ : "");
      symbol = decorated;
    }
    if (const auto id = vocabulary_.id(symbol)) {
      if (unknown_open) symbols.push_back(*unknown_);
      unknown_open = false;
      symbols.push_back(*id);
    } else if (byte_fallback_ && append_bytes(symbol, symbols)) {
      return;
    } else if (unknown_) {
      if (unknown_open && !fuse_unknown_) symbols.push_back(*unknown_);
      unknown_open = true;
    }
  });
  if (unknown_open) symbols.push_back(*unknown_);
}

namespace {

// A merge that was possible when it was queued.
struct Candidate {
  int32_t rank;
  uint32_t left;  // index of the left symbol
  int32_t id;     // of the merged symbol

  bool operator<(const Candidate& other) const {  // the queue gives the largest first
    return rank != other.rank ? rank > other.rank : left > other.left;
  }
};

}  // namespace

void Bpe::merge(std::vector<int32_t>& symbols) const {
  constexpr uint32_t none = ~uint32_t{0};
  const auto count = static_cast<uint32_t>(symbols.size());
  std::vector<uint32_t> next(count), previous(count);  // the symbols still there, as a list; id -1 = gone
  std::priority_queue<Candidate> queue;
  const auto consider = [&](uint32_t left, uint32_t right) {
    const auto found = merges_.find(symbols[left], symbols[right]);
    if (found.rank >= 0) queue.push({found.rank, left, found.id});
  };
  for (uint32_t i = 0; i < count; i++) {
    previous[i] = i == 0 ? none : i - 1;
    next[i] = i + 1 == count ? none : i + 1;
    if (i + 1 < count) consider(i, i + 1);
  }
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    const uint32_t left = top.left, right = next[left];
    // Stale when a neighbour changed meanwhile, unless the new pair gives the same token.
    if (symbols[left] < 0 || right == none || merges_.find(symbols[left], symbols[right]).id != top.id)
      continue;
    symbols[left] = top.id;
    symbols[right] = -1;
    next[left] = next[right];
    if (next[left] != none) previous[next[left]] = left;
    if (previous[left] != none) consider(previous[left], left);
    if (next[left] != none) consider(left, next[left]);
  }
  std::erase(symbols, -1);
}

}  // namespace codecllm::text
