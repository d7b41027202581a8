// SPDX-License-Identifier: Apache-2.0
// What quantize_checkpoint would do, without a look at any weight.
#pragma once

#include "quant/quantize.h"

namespace codecllm {

struct PlannedLayer {
  std::string name, scheme, algorithm;  // "int4 group 128", "gptq"
  std::string activations;              // "16-bit", "int8 token"
  int64_t weights = 0;
  uint64_t bytes = 0;                   // in the file: codes, scales and everything else that belongs to it
};

struct QuantizePlan {
  std::vector<PlannedLayer> layers = {};
  uint64_t source_bytes = 0, weight_bytes = 0;  // all tensors, before and after
  double bits_per_weight = 0, ratio = 0;        // as in QuantizeResult
  uint64_t read_bytes_per_token = 0;            // what one decode step reads, as the weights lie in memory
  std::vector<std::string> notes = {};
};

// Throws what plan_job throws. Columns that llm-int8 would find by calibration are not counted.
QuantizePlan plan_checkpoint(const std::string& model, const QuantizeOptions& options);

}  // namespace codecllm
