// SPDX-License-Identifier: Apache-2.0
// Matrices that are entropy-coded: the embedding and lm_head, too.
#pragma once

#include <optional>

#include "base/function_ref.h"
#include "quant/job.h"
#include "quant/rtn.h"
#include "quant/verify.h"

namespace codecllm {

// Part of the container, `offset` bytes from its start. Where the rate was missed, all of it comes again.
using CodedPart = FunctionRef<void(uint64_t offset, std::span<const std::byte> part)>;

struct CodedMatrix {
  uint64_t bytes = 0;             // of the container
  std::vector<std::byte> scales;  // [rows, 1] in the job's type; empty for floating point
};

// Codes a matrix as the job says, some megabytes at a time; values: what an algorithm chose. Nothing where that does not make
// it smaller.
std::optional<CodedMatrix> code_matrix(const Context& context, const Checkpoint& checkpoint, const TensorJob& job, ScaleRule rule,
                                       const LayerValues& values, CodedPart out);

// Decodes one matrix: its checksum must agree; floating point must be the reference's bits, integers within what their
// scale gives.
LayerReport check_coded_layer(const Context& context, const Checkpoint& checkpoint, const std::string& module,
                              const Checkpoint* reference);

}  // namespace codecllm
