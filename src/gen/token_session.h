// SPDX-License-Identifier: Apache-2.0
// One sequence of tokens on a loaded model.
#pragma once

#include <span>
#include <vector>

#include "model/forward.h"

namespace codecllm {

// Belongs to one thread at a time; any number of sessions share a model.
class TokenSession {
 public:
  // `capacity`: most tokens it will hold.
  TokenSession(const DecoderModel& model, int64_t capacity, KvType kv = KvType::f16);

  // Appends tokens and returns the logits [vocab] after the last of them, valid until the next call. Throws
  // Error(bad_call) for ids outside the vocabulary or beyond the capacity; the session is then unchanged.
  std::span<const float> append(std::span<const int32_t> tokens);

  // Forgets all but the first `length` tokens.
  void truncate(int64_t length) { cache_.truncate(sequence_, length); }

  int64_t length() const { return sequence_.length; }
  int64_t capacity() const { return capacity_; }
  size_t kv_bytes() const { return cache_.bytes(); }

 private:
  // Prompts run in pieces of this many rows: enough to reuse each weight many times, little enough scratch.
  static constexpr size_t kChunk = 256;

  int64_t capacity_;
  KvCache cache_;
  KvSequence sequence_;
  Forward forward_;
  std::vector<BatchRow> rows_;
};

// Throws Error(bad_call) unless every id is in [0, vocab).
void check_tokens(std::span<const int32_t> tokens, int64_t vocab);

}  // namespace codecllm
