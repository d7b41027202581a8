// SPDX-License-Identifier: Apache-2.0
// Models of well-known sizes with made-up weights, for measuring speed and memory where no real model is at hand.
#pragma once

#include "format/scheme.h"
#include "model/weights.h"

namespace codecllm {

// Throws Error(bad_call) that lists the shapes of src/model/shapes.def.
ModelSpec shape_spec(std::string_view name);

// Weights drawn from a Student-t distribution with five degrees of freedom (heavier tails than a Gaussian, as trained
// weights have), scaled by 1 / sqrt(columns); every linear layer, lm_head included, in `scheme`, the embedding in 16
// bits. The same seed gives the same values in every scheme.
DecoderModel synthetic_model(const Context& context, const ModelSpec& spec, const QuantScheme& scheme, uint64_t seed = 1);

// One weight of the same kind. The same seed gives the same values in every scheme.
Matrix synthetic_matrix(const Context& context, int64_t rows, int64_t columns, const QuantScheme& scheme, uint64_t seed = 1);
// Several, the first of them that one.
std::vector<Matrix> synthetic_matrices(const Context& context, int64_t rows, int64_t columns, const QuantScheme& scheme, size_t count,
                                       uint64_t seed = 1);

}  // namespace codecllm
