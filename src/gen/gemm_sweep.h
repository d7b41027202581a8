// SPDX-License-Identifier: Apache-2.0
// Times of one product over choices that are usually made for the caller.
#pragma once

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

struct BlockTime {
  std::string name;  // "64", "128", "256", "channel" or "tensor"
  double seconds;    // median
  double weight_bytes;
  double mse;        // against the product of the f32 weights
};
struct BlockSweep {
  std::string compute;  // "a16" or "a8", whatever the block
  std::vector<BlockTime> times;
};
// Scales for blocks of 64, 128 and 256 weights (integers: of a row; 8-bit floats: of both dimensions, and of activations where
// they have scales), for channels and for the tensor, whatever the scheme has. Throws what check_block_sweep throws.
BlockSweep sweep_block_size(const Context& context, const GemmSize& size, const QuantScheme& scheme, bool a8, int rounds);
// Throws Error(bad_call) for a scheme without scales, or whose scales cannot be those of blocks.
void check_block_sweep(const QuantScheme& scheme);

}  // namespace codecllm
