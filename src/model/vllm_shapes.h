// SPDX-License-Identifier: Apache-2.0
// Shapes of quantized layers that vLLM will not take.
#pragma once

#include <string>
#include <vector>

#include "format/scheme.h"
#include "model/spec.h"

namespace codecllm {

struct QuantizedLinear {
  LinearSpec linear;
  QuantScheme scheme;  // with weights
};

struct ShapeProblem {
  std::string text, remedy;  // sentences without a full stop
  bool refused;              // by vLLM as a whole; else by its fast kernels
};

// Integers with 16-bit activations: what Marlin kernels do not take. Blocks: vLLM joins q, k, v and gate, up, of which all but
// the last must be whole blocks, and has activations in groups of a block's width.
std::vector<ShapeProblem> shapes_for_vllm(const std::vector<QuantizedLinear>& layers);

}  // namespace codecllm
