// SPDX-License-Identifier: Apache-2.0
// Where a model's time and memory go.
#pragma once

#include <string>
#include <vector>

#include "gen/measure.h"

namespace codecllm {

// One kind of operation, summed over the layers.
struct OpTime {
  std::string op;
  double prefill_s = 0, decode_s = 0;  // of the whole prompt; of one token
  // Linear operations only:
  double weight_bytes = 0;
  double prefill_operations = 0;  // multiply-adds count as two
};

struct KernelUse {
  std::string layer, kernel;
  bool fallback = false;  // in 16 or 32 bits although most layers are quantized
};

struct Profile {
  std::vector<OpTime> ops;
  std::vector<KernelUse> kernels;
  size_t weight_bytes = 0, mapped_bytes = 0, kv_bytes = 0, scratch_bytes = 0;
};

// Medians over `rounds`. An operation's time runs from the one before it to its own end.
Profile profile(const DecoderModel& model, const MeasureOptions& options, int rounds);

}  // namespace codecllm
