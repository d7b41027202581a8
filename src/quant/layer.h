// SPDX-License-Identifier: Apache-2.0
// One linear layer in the hands of an algorithm.
#pragma once

#include <vector>

#include "base/context.h"
#include "codec/coded_view.h"
#include "format/grid.h"
#include "format/grid_map.h"
#include "model/spec.h"

namespace codecllm {

struct LayerTask {
  LinearSpec linear;
  QuantArgs args;               // fitted to the row length
  ScaleRule rule = ScaleRule::restricted;
  DType scale_type = DType::bf16;
  std::vector<float> weights;   // [rows, columns]
  std::vector<int32_t> kept;    // columns that stay as they are elsewhere: zeros here, and to remain so
  double coded_bits = 0;        // not 0: entropy-coded in at most so many bits per weight
  CodeKind kind = CodeKind::integer;  // and how; the algorithm says
};

// Shrinks the range by factors of 1 to 0.5 and returns that whose grid has the smallest squared error on these values:
// a few clipped weights for a finer step for all others.
Range mse_clipped(std::span<const float> values, const LayerTask& task);

// One grid a cell, from its largest and smallest weight, or from mse_clipped.
std::vector<Grid> fit_grids(const Context& context, const LayerTask& task, bool clip);

// One value to the nearest of its grid.
float nearest(float value, const Grid& grid, const LayerTask& task);

// [rows, columns]: every weight to the nearest of its cell's grid.
std::vector<float> round_layer(const Context& context, const LayerTask& task, const std::vector<Grid>& grids);

}  // namespace codecllm
