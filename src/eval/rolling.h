// SPDX-License-Identifier: Apache-2.0
// What scoring a text needs: a model's state over a window, and the logarithm of a softmax's sum.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "model/forward.h"

namespace codecllm {

// One model's rolling state over a window.
class RollingModel {
 public:
  RollingModel(const DecoderModel& model, int64_t context, KvType kv = KvType::f16) : cache_(model.spec, kv, context), forward_(model, cache_) {}

  // Forgets all but the first `length` tokens of the window.
  void keep(int64_t length) { cache_.truncate(sequence_, length); }

  // Runs tokens that follow those of the window. Logits for the rows from `score_from` on (slots within the window), valid
  // until the next call. With `progress`, which is asked between the steps of every layer and answers false to cancel,
  // throws Error(interrupted).
  std::span<const float> run(std::span<const int32_t> tokens, int64_t score_from, const std::function<bool()>& progress = {}) {
    if (tokens.empty()) return {};
    const int64_t slot = sequence_.length;
    cache_.grow(sequence_, static_cast<int64_t>(tokens.size()));
    rows_.clear();
    for (size_t i = 0; i < tokens.size(); ++i) {
      const int64_t at = slot + static_cast<int64_t>(i);
      rows_.push_back({tokens[i], &sequence_, at, at >= score_from});
    }
    if (!progress || rows_.size() == 1) return forward_.run(rows_);
    return forward_.run(rows_, [&](const TapPoint&) {
      if (!progress()) throw Error(ErrorCode::interrupted, "score", "interrupted");
    });
  }

 private:
  KvCache cache_;
  KvSequence sequence_;
  Forward forward_;
  std::vector<BatchRow> rows_;
};

// log(sum(exp(logits))), and the largest logit's index; NaN when a logit is NaN or +Inf.
inline double log_sum_exp(const float* logits, int64_t n, int64_t* best) {
  *best = std::max_element(logits, logits + n) - logits;
  const double top = logits[*best];
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(logits[i]) - top);
  return top + std::log(sum);
}

}  // namespace codecllm
