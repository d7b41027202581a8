// SPDX-License-Identifier: Apache-2.0
#include "gen/sampler.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "codecllm/error.h"

namespace codecllm {

void check(const SamplerOptions& o) {
  const auto need = [](bool good, const char* what) {
    if (!good) throw Error(ErrorCode::bad_call, "sample", what);
  };
  need(o.temperature >= 0 && std::isfinite(o.temperature), "the temperature must be a number of 0 or more");
  need(o.top_k >= 0, "top-k must be 0 or more");
  need(o.top_p > 0 && o.top_p <= 1, "top-p must be above 0 and at most 1");
  need(o.min_p >= 0 && o.min_p < 1, "min-p must be at least 0 and below 1");
  need(o.repetition_penalty > 0 && std::isfinite(o.repetition_penalty), "the repetition penalty must be a number above 0");
}

Sampler::Sampler(const SamplerOptions& options) : options_(options), rng_(options.seed) { check(options); }

int32_t Sampler::pick(std::span<const float> logits, std::span<const int32_t> tokens) {
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!std::isfinite(logits[i]))
      throw Error(ErrorCode::bad_input, "sample",
                  "the logit of token " + std::to_string(i) + " is not finite after " + std::to_string(tokens.size()) +
                      " tokens; `codecllm inspect` looks for damaged weights");
    candidates_.push_back({logits[i], static_cast<int32_t>(i)});
  }
  if (options_.repetition_penalty != 1.0f) penalize(tokens);
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
  };
  if (options_.temperature == 0) return std::min_element(candidates_.begin(), candidates_.end(), better)->token;
  keep_top_k();
  std::sort(candidates_.begin(), candidates_.end(), better);
  keep_top_p_and_min_p();

  double total = 0;
  for (double p : probabilities_) total += p;
  double left = rng_.uniform() * total;
  for (size_t i = 0; i < probabilities_.size(); ++i)
    if ((left -= probabilities_[i]) < 0) return candidates_[i].token;
  return candidates_[probabilities_.size() - 1].token;
}

void Sampler::penalize(std::span<const int32_t> tokens) {
  std::vector<int32_t> seen(tokens.begin(), tokens.end());
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  for (int32_t token : seen) {
    if (token < 0 || static_cast<size_t>(token) >= candidates_.size()) continue;
    float& logit = candidates_[token].logit;
    logit = logit < 0 ? logit * options_.repetition_penalty : logit / options_.repetition_penalty;
  }
}

void Sampler::keep_top_k() {
  const auto k = static_cast<size_t>(options_.top_k);
  if (k == 0 || k >= candidates_.size()) return;
  std::nth_element(candidates_.begin(), candidates_.begin() + static_cast<ptrdiff_t>(k), candidates_.end(),
                   [](const Candidate& a, const Candidate& b) {
                     return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
                   });
  candidates_.resize(k);
}

// Candidates are sorted, so both rules keep a prefix; the best one always stays.
void Sampler::keep_top_p_and_min_p() {
  probabilities_.clear();
  const double best = candidates_[0].logit;
  double total = 0;
  for (const Candidate& c : candidates_) {
    probabilities_.push_back(std::exp((c.logit - best) / options_.temperature));
    total += probabilities_.back();
  }
  size_t keep = 0;
  for (double before = 0; keep < probabilities_.size(); before += probabilities_[keep++]) {
    const bool enough = before >= options_.top_p * total, unlikely = probabilities_[keep] < options_.min_p;
    if (keep > 0 && ((options_.top_p < 1 && enough) || unlikely)) break;
  }
  probabilities_.resize(keep);
}

}  // namespace codecllm
