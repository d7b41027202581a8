// SPDX-License-Identifier: Apache-2.0
// Speed of a loaded model.
#pragma once

#include <map>
#include <span>

#include "model/forward.h"

namespace codecllm {

// Prompts run in pieces of this many rows.
inline constexpr int64_t kPromptChunk = 256;

struct MeasureOptions {
  int64_t prompt_tokens = 512;
  int64_t decode_tokens = 32;
  std::vector<int64_t> batches = {4, 8, 16};  // sequences decoded together, beside one
  KvType kv = KvType::f16;
};

// One round; medians over rounds are the caller's.
struct Measurement {
  double prefill_tok_s = 0;
  double decode_tok_s = 0;             // one sequence, right after the prompt
  std::map<int64_t, double> batch;     // sequences -> tokens per second of all together
};

class Measurer {
 public:
  Measurer(const DecoderModel& model, const MeasureOptions& options);
  Measurement round();
  size_t kv_bytes() const { return cache_.bytes(); }

 private:
  double decode(int64_t sequences);

  const DecoderModel& model_;
  const MeasureOptions options_;
  KvCache cache_;
  Forward forward_;
};

double median(std::vector<double> values);

}  // namespace codecllm
