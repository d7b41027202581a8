// SPDX-License-Identifier: Apache-2.0
// Which values of the model are smoothed, by what is to be done to the layers around them.
#pragma once

#include "base/function_ref.h"
#include "quant/algorithm.h"

namespace codecllm {

// What quantizes a module, by its name; null where nothing does.
using AlgorithmOf = FunctionRef<const AlgorithmOptions*(const std::string& module)>;

// Scale moves only where all layers that read the value are quantized and smoothed alike, and the linear layer that makes
// it, too; behind a norm the readers suffice.
bool is_smoothed(const BlockInput& input, AlgorithmOf algorithm_of);

// A layer whose algorithm smooths, but not what this layer reads.
struct Unsmoothed {
  std::string module;
  std::string what, remedy;  // for people; empty where nobody would expect otherwise
};

// In model order.
std::vector<Unsmoothed> unsmoothed_layers(const ModelSpec& spec, AlgorithmOf algorithm_of);

}  // namespace codecllm
