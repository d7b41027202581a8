// SPDX-License-Identifier: Apache-2.0
// One sequence of tokens on a loaded model.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "model/forward.h"

namespace codecllm {

// Belongs to one thread at a time; any number of sessions share a model.
class TokenSession {
 public:
  // Prompts run in pieces of this many rows: enough to reuse each weight many times, little enough scratch.
  static constexpr int64_t kChunk = 512;

  // `capacity`: most tokens it will hold.
  TokenSession(const DecoderModel& model, int64_t capacity, KvType kv = KvType::f16);

  // Appends tokens, runs all that have not run yet, and returns the logits [vocab] after the last of them, valid until
  // the next call. With no tokens: the logits after what is held. Throws Error(bad_call) for ids outside the vocabulary,
  // beyond the capacity, or when nothing is held, and Error(interrupted) when `cancelled`, which is asked between the
  // steps of a prompt's layers (not of a single token's), answers true; the session then holds the tokens it held before.
  using Cancelled = std::function<bool()>;
  std::span<const float> append(std::span<const int32_t> tokens, const Cancelled& cancelled = {});

  // Takes a token that need not run before the next append. False when the session is full.
  bool hold(int32_t token);

  // Forgets all but the first `length` tokens.
  void truncate(int64_t length);

  std::span<const int32_t> tokens() const { return tokens_; }
  int64_t length() const { return static_cast<int64_t>(tokens_.size()); }
  int64_t capacity() const { return capacity_; }
  size_t kv_bytes() const { return cache_.bytes(); }

 private:
  int64_t capacity_;
  std::vector<int32_t> tokens_;  // of these the first sequence_.length are in the cache
  KvCache cache_;
  KvSequence sequence_;
  Forward forward_;
  std::vector<BatchRow> rows_;
};

}  // namespace codecllm
