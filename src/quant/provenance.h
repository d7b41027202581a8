// SPDX-License-Identifier: Apache-2.0
// codecllm_quantization.json beside the weights: how the codes were found, and what was moved between layers; without it
// a checkpoint could not be verified against its original.
#pragma once

#include "quant/job.h"
#include "quant/smoothing.h"

namespace codecllm {

inline constexpr const char* kProvenanceFile = "codecllm_quantization.json";

struct Provenance {
  std::string algorithm = "rtn";
  bool all_nearest = true;         // every weight is at the nearest code of the rule's scale
  std::set<std::string> nearest;  // modules of which this holds
  SmoothingFactors factors;

  bool is_nearest(const std::string& module) const { return all_nearest || nearest.contains(module); }
};

std::string provenance_text(const QuantizeJob& job, const SmoothingFactors& factors);

// Of a directory without the file: rounding to the nearest. Throws Error(bad_input) for a damaged file.
Provenance read_provenance(const std::string& directory);

}  // namespace codecllm
