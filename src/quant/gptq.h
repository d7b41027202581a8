// SPDX-License-Identifier: Apache-2.0
// GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers (Frantar et al. 2022).
#pragma once

#include "quant/layer.h"

namespace codecllm {

struct GptqOptions {
  double damping = 0.01;  // share of the mean diagonal that is added to the Hessian's
  // Columns of the largest inputs first. Groups then keep their columns and take their scales from the weights as they
  // were, so that no order has to be stored; without it a group's scale is found when its first column is reached.
  bool act_order = true;
  bool clip = false;      // scales of the smallest squared error, instead of the largest weight's
};

// Replaces task.weights by values of the returned grids (in the order of GridMap) so that the layer's output error
// || W X - W' X ||^2 is small (eq. 1). gram [columns, columns]: X^T X up to a factor. Throws Error(bad_input) where it is
// not positive definite even when damped.
std::vector<Grid> gptq(const Context& context, LayerTask& task, const std::vector<float>& gram, const GptqOptions& options = {});

}  // namespace codecllm
