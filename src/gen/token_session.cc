// SPDX-License-Identifier: Apache-2.0
#include "gen/token_session.h"

#include <algorithm>

#include "model/model_tokenizer.h"

namespace codecllm {

TokenSession::TokenSession(const DecoderModel& model, int64_t capacity, KvType kv)
    : capacity_(capacity), cache_(model.spec, kv, capacity), forward_(model, cache_) {}

std::span<const float> TokenSession::append(std::span<const int32_t> tokens, const Cancelled& cancelled) {
  const auto count = static_cast<int64_t>(tokens.size());
  if (length() + count > capacity_)
    throw Error(ErrorCode::bad_call, "session",
                std::to_string(count) + " tokens after " + std::to_string(length()) + ", room for " +
                    std::to_string(capacity_));
  check_tokens(tokens, forward_.model().spec.vocab);
  if (length() + count == 0) throw Error(ErrorCode::bad_call, "session", "no tokens to append");
  if (length() + count == sequence_.length) cache_.truncate(sequence_, length() - 1);  // its logits are wanted again
  const int64_t before = length();
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  const Tap ask = [&](const TapPoint&) {
    if (cancelled()) throw Error(ErrorCode::interrupted, "session", "interrupted");
  };
  std::span<const float> logits;
  while (sequence_.length < length()) {
    const int64_t first = sequence_.length, end = std::min(length(), first + kChunk);
    cache_.grow(sequence_, end - first);
    rows_.clear();
    for (int64_t slot = first; slot < end; ++slot)
      rows_.push_back({tokens_[static_cast<size_t>(slot)], &sequence_, slot, slot + 1 == length()});
    try {
      logits = forward_.run(rows_, cancelled && rows_.size() > 1 ? ask : Tap());
    } catch (...) {
      truncate(before);
      cache_.truncate(sequence_, std::min(before, first));  // what was begun is run again
      throw;
    }
  }
  return logits;
}

bool TokenSession::hold(int32_t token) {
  if (length() == capacity_) return false;
  check_tokens({&token, 1}, forward_.model().spec.vocab);
  tokens_.push_back(token);
  return true;
}

void TokenSession::truncate(int64_t length) {
  if (length < 0 || length > this->length())
    throw Error(ErrorCode::bad_call, "session",
                "cannot keep " + std::to_string(length) + " of " + std::to_string(this->length()) + " tokens");
  tokens_.resize(static_cast<size_t>(length));
  cache_.truncate(sequence_, std::min(length, sequence_.length));
}

}  // namespace codecllm
