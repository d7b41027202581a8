// SPDX-License-Identifier: Apache-2.0
// The precision of activations in products with quantized weights.
#pragma once

#include <string_view>

#include "model/weights.h"

namespace codecllm {

// "a16": as stored. "a8": integer weights whose activations would stay in 16 bits take them as INT8 per token. Throws
// Error(bad_call) for another name.
void set_compute(ModelWeights& weights, std::string_view compute);

// "a8" when all products with integers and 8-bit floats take 8-bit activations, "mixed" when some do, else "a16".
std::string_view compute_of(const ModelWeights& weights);

}  // namespace codecllm
