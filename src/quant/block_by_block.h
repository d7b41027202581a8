// SPDX-License-Identifier: Apache-2.0
// Algorithms that look at activations, or at a layer as a whole: one decoder block after another.
#pragma once

#include "quant/algorithm.h"
#include "quant/job.h"
#include "quant/rtn.h"
#include "quant/smoothing.h"

namespace codecllm {

// Where the results go.
class BlockSink {
 public:
  virtual ~BlockSink() = default;
  virtual bool is_done(const TensorJob& tensor) const = 0;
  // A layer's weights and scales, or a vector's values as `weights`.
  virtual void write(const TensorJob& tensor, const LayerValues& values) = 0;
  // What was written so far, as a checkpoint's directory; it also takes the scratch files.
  virtual std::string directory() const = 0;
  virtual void factors_changed() = 0;  // called before anything that depends on new factors is written
  virtual void note(const std::string& sentence) = 0;
};

// Writes every tensor of the decoder blocks that the algorithm has a say in and that is not done yet. `smoothed` holds
// the factors of the blocks that are done, and receives those of the others. Resumed, it comes to the same bytes: what a
// block reads comes from the source, or from what was written of the blocks before it.
void quantize_blocks(const Context& context, const Checkpoint& source, const ModelSpec& spec, const AlgorithmOptions& options,
                     ScaleRule rule, const QuantizeJob& job, SmoothedSource& smoothed, BlockSink& sink, const Progress& progress);

}  // namespace codecllm
