// SPDX-License-Identifier: Apache-2.0
// Times of one product over choices that are usually made for the caller.
#pragma once

#include "format/dtype.h"
#include "gen/gemm.h"

namespace codecllm {

struct TileTime {
  int64_t rows_per_pass;    // rows of x that go through the weight together
  int64_t panels_per_task;  // panels of 16 outputs that a thread takes at a time; 0: the number that `linear` takes by itself
  double seconds;           // median
};
struct TileSweep {
  std::string compute;  // "a16" or "a8"
  std::vector<TileTime> times;
};
// Every pair of a few rows per pass, up to all, and a few panels per task. In turns, weights coming from memory.
TileSweep sweep_tiles(const Context& context, const GemmSize& size, const QuantScheme& scheme, bool a8, int rounds);

struct ScaleTime {
  std::string block;  // what a scale belongs to: "64", "128", "256", "channel" or "tensor"
  DType type;         // of the scales
  double seconds = 0;  // median
  double weight_bytes = 0;
  double mse = 0;     // against the product of the f32 weights
};
struct ScaleSweep {
  std::string compute;  // "a16" or "a8", whatever the scales
  std::vector<ScaleTime> times;
};
// Other scales than the scheme's. Blocks are of a row (integers) or of both dimensions (8-bit floats, and then of activations where they
// have scales). Both throw what check_scale_sweep throws.
// Blocks of 64, 128 and 256 weights, channels and the tensor; scales in BF16.
ScaleSweep sweep_block_size(const Context& context, const GemmSize& size, const QuantScheme& scheme, bool a8, int rounds);
// Scales in F32, BF16 and F16, of blocks of 128 and of channels.
ScaleSweep sweep_scale_layout(const Context& context, const GemmSize& size, const QuantScheme& scheme, bool a8, int rounds);
// Throws Error(bad_call) for a scheme without scales, or whose scales cannot be those of blocks.
void check_scale_sweep(const QuantScheme& scheme);

}  // namespace codecllm
