// SPDX-License-Identifier: Apache-2.0
#include "quant/smoothquant.h"

#include <algorithm>
#include <cmath>

namespace codecllm {

std::vector<float> smoothquant_scales(const std::vector<LayerTask>& readers, const std::vector<float>& channel_amax, float alpha) {
  const size_t columns = channel_amax.size();
  std::vector<float> weight_amax(columns), scales(columns, 1.0f);
  for (const LayerTask& task : readers)
    for (size_t i = 0; i < task.weights.size(); ++i)
      weight_amax[i % columns] = std::max(weight_amax[i % columns], std::fabs(task.weights[i]));
  for (size_t c = 0; c < columns; ++c)
    if (channel_amax[c] > 0 && weight_amax[c] > 0)
      scales[c] = std::max(1e-5f, std::pow(channel_amax[c], alpha) / std::pow(weight_amax[c], 1 - alpha));
  return scales;
}

}  // namespace codecllm
