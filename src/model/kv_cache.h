// SPDX-License-Identifier: Apache-2.0
// Keys and values in fixed blocks (kKvBlock tokens), shared by the sequences of one batch: batching, prefix reuse and
// eviction are choices of block indices.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/memory.h"
#include "kernels/views.h"
#include "model/spec.h"

namespace codecllm {

// One sequence's place in a cache: slot t lives in blocks[t / kKvBlock].
struct KvSequence {
  std::vector<int32_t> blocks;
  int64_t length = 0;  // slots in use
};

// "f32", "f16", "int8" or "fp8" (E4M3); throws Error(bad_call) for another name.
KvType kv_type(std::string_view name);

class KvCache {
 public:
  // Room for `tokens` slots, rounded up to whole blocks for each of `sequences`.
  KvCache(const ModelSpec& spec, KvType type, int64_t tokens, int64_t sequences = 1);

  KvView layer(int64_t layer) const;

  // Makes room for `count` more slots. Throws Error(bad_call) when the cache is full.
  void grow(KvSequence& sequence, int64_t count);
  // Gives back the blocks beyond the first `length` slots.
  void truncate(KvSequence& sequence, int64_t length);

  int64_t free_slots() const { return static_cast<int64_t>(free_.size()) * kKvBlock; }
  size_t bytes() const { return keys_.bytes() + values_.bytes(); }

 private:
  KvView shape_;
  int64_t blocks_;
  Buffer keys_, values_;       // [layers][blocks][kv heads][KvView::head_bytes], and slack
  std::vector<int32_t> free_;  // stack of block indices
};

}  // namespace codecllm
