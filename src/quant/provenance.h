// SPDX-License-Identifier: Apache-2.0
// codecllm_quantization.json beside the weights: how the codes were found, and what was moved between layers; without it
// a checkpoint could not be verified against its original.
#pragma once

#include "quant/job.h"
#include "quant/smoothing.h"

namespace codecllm {

inline constexpr const char* kProvenanceFile = "codecllm_quantization.json";

struct Provenance {
  bool known = false;              // the file is there
  bool rounded_again = false;      // `convert` made some layers of coarser or finer codes
  std::string algorithm = "rtn";
  std::set<std::string> nearest;  // modules whose weights are all at the nearest code of the rule's scale
  SmoothingFactors factors;

  bool is_nearest(const std::string& module) const { return nearest.contains(module); }
};

std::string provenance_text(const QuantizeJob& job, const SmoothingFactors& factors);

// Of a directory without the file nothing is known: others made it, or `convert` in one file. Throws Error(bad_input) for a damaged file.
Provenance read_provenance(const std::string& directory);

// What `convert` writes of the source's: the factors that were moved still are; which codes are the nearest of the rule's scales, only
// where both are copied, since other layouts have other types of scales, and groups. "" where the source has none. Throws as above.
std::string passed_provenance(const std::string& directory, bool copied, bool rounded_again);

}  // namespace codecllm
