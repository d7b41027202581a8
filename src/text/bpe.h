// SPDX-License-Identifier: Apache-2.0
// Byte pair encoding: characters become symbols, and the neighbours with the best merge rule join until none
// is left.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/vocabulary.h"

namespace codecllm::text {

// (left id, right id) -> rank and merged id. Open addressing: this look-up is the inner loop of encoding.
class MergeTable {
 public:
  struct Merge {
    int32_t rank = -1;  // -1: no such merge
    int32_t id = -1;
  };

  void reserve(size_t count);
  void put(int32_t left, int32_t right, Merge merge);  // a pair put twice keeps the last
  Merge find(int32_t left, int32_t right) const {
    if (slots_.empty()) return {};
    return slots_[slot_of(key_of(left, right))].merge;
  }

 private:
  struct Slot {
    uint64_t key = 0;
    Merge merge;
  };

  static uint64_t key_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
  }
  size_t slot_of(uint64_t key) const;

  std::vector<Slot> slots_;  // a power of two, at most half full
};

class Bpe {
 public:
  // `model` is the object below "model" of tokenizer.json; the vocabulary holds the added tokens too.
  Bpe(const Json& model, const Vocabulary& vocabulary, const std::string& file);

  // Appends the ids of one piece of well-formed text. Any number of threads may call this.
  void encode(std::string_view piece, std::vector<int32_t>& ids) const;

 private:
  void load_merges(const Json& merges, const std::string& file);
  void load_merge(std::string_view left, std::string_view right, int32_t rank, const std::string& file);
  void to_symbols(std::string_view piece, std::vector<int32_t>& symbols) const;
  bool append_bytes(std::string_view symbol, std::vector<int32_t>& symbols) const;
  void merge(std::vector<int32_t>& symbols) const;

  const Vocabulary& vocabulary_;
  MergeTable merges_;
  std::string prefix_, suffix_;  // of symbols that continue a word, of symbols that end one
  std::optional<int32_t> unknown_;
  bool fuse_unknown_ = false, byte_fallback_ = false, ignore_merges_ = false;
  std::array<std::optional<int32_t>, 256> byte_ids_;  // of <0x00> to <0xFF>
};

}  // namespace codecllm::text
