// SPDX-License-Identifier: Apache-2.0
// From logits to a token.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"

namespace codecllm {

struct SamplerOptions {
  float temperature = 0.8f;  // 0: greedy
  int top_k = 40;            // 0: off
  float top_p = 0.95f;       // 1: off (Holtzman et al. 2019)
  float min_p = 0.05f;       // 0: off (Nguyen et al. 2024)
  float repetition_penalty = 1.0f;  // Keskar et al. 2019, eq. 1; over all tokens so far
  uint64_t seed = 0;
};

// Throws Error(bad_call) for values out of range.
void check(const SamplerOptions& options);

// The order is Hugging Face's: penalty, temperature, top-k, top-p, min-p. One sampler belongs to one sequence.
class Sampler {
 public:
  explicit Sampler(const SamplerOptions& options);

  // `tokens` are those so far, prompt included. Throws Error(bad_input) when a logit is not finite: a damaged model must
  // not go on as if nothing were.
  int32_t pick(std::span<const float> logits, std::span<const int32_t> tokens);

 private:
  struct Candidate {
    float logit;
    int32_t token;
  };

  void penalize(std::span<const int32_t> tokens);
  void keep_top_k();
  void keep_top_p_and_min_p();

  SamplerOptions options_;
  Rng rng_;
  std::vector<Candidate> candidates_;  // reused from token to token
  std::vector<double> probabilities_;
};

}  // namespace codecllm
