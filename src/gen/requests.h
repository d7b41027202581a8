// SPDX-License-Identifier: Apache-2.0
// Many prompts through one model, as a server would run them.
#pragma once

#include "gen/measure.h"

namespace codecllm {

struct RequestStats {
  int64_t requests = 0, prompt_tokens = 0, decoded_tokens = 0;
  double seconds = 0;                          // until the last is done
  double mean_latency_s = 0, mean_first_s = 0;  // from the step that takes a request up to its last, and its first, token
};

// options.requests prompts of a quarter to all of options.prompt_tokens, made-up tokens, options.decode_tokens decoded for
// each, without sampling. All wait from the beginning; up to the largest of options.batches are under way at once: every
// step decodes a token of each and, while there is room, reads the next prompt (continuous batching: Yu et al., Orca, 2022).
RequestStats run_requests(const DecoderModel& model, const MeasureOptions& options);

}  // namespace codecllm
