// SPDX-License-Identifier: Apache-2.0
#include "gen/token_session.h"

#include <algorithm>

namespace codecllm {

void check_tokens(std::span<const int32_t> tokens, int64_t vocab) {
  for (int32_t token : tokens)
    if (token < 0 || token >= vocab)
      throw Error(ErrorCode::bad_call, "session",
                  "token " + std::to_string(token) + ", expected 0 to " + std::to_string(vocab - 1) +
                      "; do tokenizer and model belong together?");
}

TokenSession::TokenSession(const DecoderModel& model, int64_t capacity, KvType kv)
    : capacity_(capacity), cache_(model.spec, kv, capacity), forward_(model, cache_) {}

std::span<const float> TokenSession::append(std::span<const int32_t> tokens) {
  if (tokens.empty()) throw Error(ErrorCode::bad_call, "session", "no tokens to append");
  const auto count = static_cast<int64_t>(tokens.size());
  if (length() + count > capacity_)
    throw Error(ErrorCode::bad_call, "session",
                std::to_string(count) + " tokens after " + std::to_string(length()) + ", room for " +
                    std::to_string(capacity_));
  check_tokens(tokens, forward_.model().spec.vocab);
  std::span<const float> logits;
  for (size_t begin = 0; begin < tokens.size(); begin += kChunk) {
    const size_t end = std::min(tokens.size(), begin + kChunk);
    const int64_t slot = length();
    cache_.grow(sequence_, static_cast<int64_t>(end - begin));
    rows_.clear();
    for (size_t i = begin; i < end; ++i)
      rows_.push_back({tokens[i], &sequence_, slot + static_cast<int64_t>(i - begin), i + 1 == tokens.size()});
    logits = forward_.run(rows_);
  }
  return logits;
}

}  // namespace codecllm
