// SPDX-License-Identifier: Apache-2.0
// Algorithms that look at activations, or at a layer as a whole, and static scales of inputs: one decoder block after
// another.
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
  virtual bool is_done(const std::string& name) const = 0;  // a source tensor's, or input_scale_name
  // A layer's weights and scales, or a vector's values as `weights`; without any, what the plan says of the tensor.
  virtual void write(const TensorJob& tensor, const LayerValues& values) = 0;
  virtual void write_input_scale(const TensorJob& tensor, const Grid& grid) = 0;
  // What was written so far, as a checkpoint's directory; it also takes the scratch files.
  virtual std::string directory() const = 0;
  virtual void factors_changed() = 0;  // called before anything that depends on new factors is written
  virtual void note(const std::string& sentence) = 0;
};

// Whether any layer of the job needs it.
bool needs_blocks(const QuantizeJob& job);

// Writes every tensor of the decoder blocks that an algorithm has a say in and that is not done yet, and the static scales.
// `smoothed` holds the factors of the blocks that are done, and receives those of the others. Resumed, it comes to the
// same bytes: what a block reads comes from the source, or from what was written of the blocks before it. Returns the
// seconds that samples took through blocks.
double quantize_blocks(const Context& context, const Checkpoint& source, const ModelSpec& spec, const CalibrationOptions& calibration,
                     ScaleRule rule, const QuantizeJob& job, SmoothedSource& smoothed, BlockSink& sink, const Progress& progress);

}  // namespace codecllm
