// SPDX-License-Identifier: Apache-2.0
// GPTQ for entropy-coded weights: the rounding counts the bits of the code (rate-distortion optimized), and what it gives
// away is fed forward like any other error.
#pragma once

#include "quant/gptq.h"

namespace codecllm {

// Column after column (eq. 2 and 3 of the paper) the code q of the least  (w - q)^2 / U_jj^2 + mu bits(q),
// mu = lambda step^2 mean(1 / U_jj^2): a bit is worth the same error of the output wherever it is spent. The step is chosen
// so that codes, scales and container take at most task.coded_bits per weight. Replaces task.weights by values of the
// returned scales, one a row, and says in task.kind how they are to be coded.
std::vector<Grid> gptq_rate(const Context& context, LayerTask& task, const std::vector<float>& gram, const GptqOptions& options);

}  // namespace codecllm
