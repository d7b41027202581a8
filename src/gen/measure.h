// SPDX-License-Identifier: Apache-2.0
// Speed of a loaded model.
#pragma once

#include <map>
#include <span>
#include <string>

#include "base/rng.h"
#include "gen/token_session.h"
#include "model/forward.h"

namespace codecllm {

// Prompts of one length that are read together.
struct PromptBatch {
  int64_t sequences, tokens;
  auto operator<=>(const PromptBatch&) const = default;
  std::string name() const { return std::to_string(sequences) + "x" + std::to_string(tokens); }
};

struct MeasureOptions {
  int64_t prompt_tokens = 512;
  int64_t decode_tokens = 32;
  std::vector<int64_t> batches = {4, 8, 16};  // sequences decoded together, beside one
  KvType kv = KvType::f16;
  std::vector<int64_t> contexts = {};         // of one sequence that is decoded, too: tokens with made-up keys and values
  std::vector<PromptBatch> prompts = {};      // that are read, too
  int64_t requests = 0;                       // of run_requests
};

// One round; medians over rounds are the caller's.
struct Measurement {
  double prefill_tok_s = 0;
  double decode_tok_s = 0;             // one sequence, right after the prompt
  std::map<int64_t, double> batch;     // sequences -> tokens per second of all together
  std::map<int64_t, double> context;   // tokens before -> tokens per second of one sequence
  std::map<PromptBatch, double> prompts;  // -> tokens per second of all together
};

class Measurer {
 public:
  Measurer(const DecoderModel& model, const MeasureOptions& options);
  Measurement round();
  size_t kv_bytes() const { return cache_.bytes(); }

 private:
  double decode(int64_t sequences);
  double decode_behind(int64_t context);
  double read(const PromptBatch& prompts);

  const DecoderModel& model_;
  const MeasureOptions options_;
  KvCache cache_;
  KvSequence context_;  // the longest context and what is decoded behind it; shorter ones are its beginning
  Forward forward_;
};

// Appends `count` tokens of `rng` to each of some empty sequences: run(rows) for each piece of up to TokenSession::kChunk rows, logits wanted
// for each sequence's last row.
void random_prompts(KvCache& cache, std::span<KvSequence> sequences, int64_t count, int64_t vocab, Rng& rng,
                    FunctionRef<void(std::span<const BatchRow>)> run);

// Appends `count` tokens to a sequence whose keys and values, in all layers, are standard normal: as long a context as is wanted,
// without the prefill.
void random_context(const DecoderModel& model, KvCache& cache, KvSequence& sequence, int64_t count, Rng& rng);

double median(std::vector<double> values);

}  // namespace codecllm
