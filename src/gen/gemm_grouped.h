// SPDX-License-Identifier: Apache-2.0
// Speed of products whose rows belong to many experts.
#pragma once

#include "gen/gemm.h"

namespace codecllm {

enum class GroupedLayout : uint8_t { contiguous, masked };

struct GroupedGemmResult {
  double seconds = 0;         // median of one call for all experts, their weights coming from memory
  double single_seconds = 0;  // the same rows, one product per expert after the other
  double dense_seconds = 0;   // as many rows with one weight, which comes from memory, too
  double weight_bytes = 0;    // of the experts that have rows: those that a call reads
  double operations = 0;      // multiply-adds count as two
  int64_t fewest_rows = 0, most_rows = 0;  // of an expert
  int64_t used_experts = 0;   // that have rows
  std::string compute;        // "a16" or "a8"
};

// size.m rows, each of which has drawn one of the experts; each expert a [n, k] weight.
GroupedGemmResult measure_grouped_gemm(const Context& context, const GemmSize& size, int64_t experts, GroupedLayout layout,
                                       const QuantScheme& scheme, bool a8, int rounds);

}  // namespace codecllm
