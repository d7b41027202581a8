// SPDX-License-Identifier: Apache-2.0
// SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models (Xiao et al. 2022).
#pragma once

#include "quant/layer.h"

namespace codecllm {

// Factors [columns] by which the channels of a value are divided and the columns of the layers that read it multiplied:
//   s_j = max|X_j|^alpha / max|W_j|^(1 - alpha)   (eq. 4)
// 1 for channels whose input or weights are all zero.
std::vector<float> smoothquant_scales(const std::vector<LayerTask>& readers, const std::vector<float>& channel_amax, float alpha);

}  // namespace codecllm
