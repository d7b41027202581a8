// SPDX-License-Identifier: Apache-2.0
// Which linear layers read which value, and what makes that value: where algorithms find their pairs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/spec.h"

namespace codecllm {

// One value of a decoder block that linear layers read.
struct BlockInput {
  std::string_view tap;             // Forward's name for it
  int64_t columns;                  // its width
  std::vector<LinearSpec> readers;  // all layers that read it
  // What may be divided by a factor per channel, and the readers' columns multiplied by it, without a change of the
  // model's function: a norm's weight, or the rows (and bias) of a linear whose output reaches the readers channel by
  // channel. At most one of the two is not empty.
  std::string norm, producer;       // without ".weight"
  // Channel c of the value comes from the producer's row producer_row(c): with shared KV heads, several from one.
  int64_t head_dim = 0, shared_heads = 1;

  int64_t producer_row(int64_t channel) const {
    return shared_heads == 1 ? channel : channel / (head_dim * shared_heads) * head_dim + channel % head_dim;
  }
};

// In the order in which a block computes them.
std::vector<BlockInput> block_inputs(const ModelSpec& spec, int64_t layer);

}  // namespace codecllm
