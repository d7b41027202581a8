// SPDX-License-Identifier: Apache-2.0
// Perplexity, and the divergence from a reference model, over a text.
#pragma once

#include <span>

#include "model/forward.h"

namespace codecllm {

struct PerplexityOptions {
  int64_t context = 0;  // tokens of a window; 0: min(2048, trained length)
  int64_t stride = 0;   // tokens from window to window; 0: half the context
  bool decode_loop = false;  // one token at a time through the KV cache, as generation runs
  KvType kv = KvType::f16;   // of the model; a reference has its cache in f16
};

struct PerplexityResult {
  double nll = 0;         // mean negative log-likelihood per scored token, nats
  double perplexity = 0;  // e^nll
  int64_t tokens = 0;     // scored
  bool logits_finite = true, loss_finite = true, reference_finite = true;
  // Only with a reference: KL(reference || model) per scored token in nats, and how often both prefer the same token.
  bool compared = false;
  double kl_mean = 0, kl_p99 = 0, top1_agreement = 0;
  double reference_perplexity = 0;
};

// Every token is scored once, in the first window that holds it with context before it; the first token of the text
// never (nor, where the stride equals the context, the first of any window). With `reference`, both models run in
// lock-step and no logits are stored. Throws Error(bad_call) when there are fewer than two tokens or the two
// vocabularies differ.
PerplexityResult perplexity(const DecoderModel& model, std::span<const int32_t> tokens,
                            const PerplexityOptions& options, const DecoderModel* reference = nullptr,
                            const Progress& progress = {});

}  // namespace codecllm
