// SPDX-License-Identifier: Apache-2.0
// What other engines will stumble over.
#pragma once

#include "eval/inspect.h"
#include "io/quant_config.h"
#include "model/spec.h"

namespace codecllm {

// Fused layers of different schemes, shapes that fast kernels do not take, blocks that fused layers cut, a format
// that is not how the codes are stored, zero points out of range, scales of activations and files that are missing, and what the
// translator of another layout noticed.
std::vector<Problem> lint(const Checkpoint& checkpoint, const ModelSpec& spec, const QuantConfig& config);

}  // namespace codecllm
