// SPDX-License-Identifier: Apache-2.0
// A checkpoint in, a quantized checkpoint out.
#pragma once

#include "quant/rate_plan.h"
#include "quant/verify.h"

namespace codecllm {

struct QuantizeResult {
  uint64_t source_bytes = 0, weight_bytes = 0;  // all tensors, before and after
  double bits_per_weight = 0;                   // quantized layers with scales and every overhead; plain: the type's
  double ratio = 0;                             // source_bytes / weight_bytes
  double seconds = 0, calibration_seconds = 0;  // all of it, and what ran samples through blocks
  bool resumed = false;
  std::vector<LayerReport> layers;
  std::vector<PlannedRate> plan;   // with options.target
  std::vector<std::string> notes;  // fallbacks, who will refuse the result
  std::vector<std::string> bad;    // what the verification found; not empty only with options.force
};

// Writes `output`, a directory that must not exist. Memory stays at a few hundred MB whatever the model's size. Ends by
// reading everything back; what fails that leaves no output, unless options.force. Interrupted (also by kill -9) and
// called again with the same arguments, it goes on where it stopped, to the same bytes.
QuantizeResult quantize_checkpoint(const Context& context, const std::string& model, const std::string& output,
                                   const QuantizeOptions& options, const Progress& progress = {});

}  // namespace codecllm
