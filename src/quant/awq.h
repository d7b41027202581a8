// SPDX-License-Identifier: Apache-2.0
// AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration (Lin et al. 2023).
#pragma once

#include "quant/layer.h"

namespace codecllm {

// The layer's output error || W X - W' X ||^2 / tokens = tr(E G E^T), E = W - W', for gram G = X^T X / tokens.
double output_error(const Context& context, const std::vector<float>& error, int64_t rows, const std::vector<float>& gram,
                    int64_t columns);

// Factors [columns] for the columns of the layers that read one value, whose channels are divided by them: mean magnitude
// of the channel to the power that gives the smallest output error (eq. 4 and 5), powers 0 to 0.95 in steps of 0.05.
std::vector<float> awq_scales(const Context& context, const std::vector<LayerTask>& readers,
                              const std::vector<float>& channel_mean, const std::vector<float>& gram);

// A grid for each cell of one row: the range shrunk by factors of 1 to 0.55 to the smallest output error of its own
// columns (the paper's clipping; errors across cells are left out). Wider cells than 256 columns take the diagonal of
// the gram alone. For one scale per tensor or block: the range is not shrunk.
std::vector<Grid> awq_clip(const Context& context, const LayerTask& task, const std::vector<float>& gram);

}  // namespace codecllm
