// SPDX-License-Identifier: Apache-2.0
// Calibration: samples of text run through a model one decoder block at a time. Memory holds one block's weights, one
// sample and running statistics; the hidden states between blocks lie on disk.
#pragma once

#include <map>
#include <memory>

#include "model/forward.h"
#include "model/wiring.h"
#include "quant/hidden_states.h"
#include "quant/observer.h"
#include "quant/statistics.h"

namespace codecllm {

struct CalibrationOptions {
  std::string text;         // path of a text file; empty: no calibration
  int64_t samples = 512;    // windows of the text, spread evenly; fewer where the text is shorter
  int64_t tokens = 0;       // of a window; 0: min(512, trained length)
  ObserverOptions observer = {};
  int64_t text_bytes = int64_t{8} << 20;  // of the text, at most, that are read and tokenized
};

struct CalibrationSamples {
  int64_t window = 0;                         // tokens of a sample
  std::vector<std::vector<int32_t>> samples;  // each of `window` tokens
};

// The text, or of one longer than options.text_bytes evenly spaced pieces that have at most so many bytes together: the
// first begins with the text, the others behind a line's end (or where no line ends soon, at a character), and the last
// ends with the text; all end with a whole character.
std::vector<std::string> calibration_text(const CalibrationOptions& options);

// Cuts the text (each of its pieces) into windows that do not overlap and takes options.samples of them, spread evenly.
// Throws Error(bad_call) where the text does not fill one window, or where the options make no sense.
CalibrationSamples calibration_samples(const std::string& model, const ModelSpec& spec,
                                       const CalibrationOptions& options);

// Statistics of the inputs of one block, by tap.
using BlockStatistics = std::map<std::string, InputStatistics, std::less<>>;

class BlockRunner {
 public:
  // Begins with the embeddings of the samples. Scratch files lie in `directory`.
  BlockRunner(const Context& context, const Checkpoint& checkpoint, const ModelSpec& spec, const CalibrationSamples& samples,
              const std::string& directory);

  // Called between samples with the share of this pass that is done; answers false to cancel.
  using Pass = FunctionRef<bool(double done)>;

  // Runs all samples through a block. With `statistics`, what its linear layers read is added to them; with `advance`,
  // the results are the hidden states that the next block starts from.
  void run(BlockWeights block, int64_t layer, BlockStatistics* statistics, bool advance, Pass progress);

  BlockStatistics statistics(int64_t layer, unsigned kinds) const;  // empty ones for this block's inputs

 private:
  const Context& context_;
  const ModelSpec& spec_;
  const CalibrationSamples& samples_;
  HiddenStates hidden_;
};

// The columns whose inputs reach the layer's threshold, ascending, by module name, of the linear layers of the blocks that
// `thresholds` names (LLM.int8(); Dettmers et al. 2022, section 3.2). Stopped, it has nothing to be taken up again.
std::map<std::string, std::vector<int32_t>> calibrate_outliers(const Context& context, const Checkpoint& checkpoint, const ModelSpec& spec,
                                                               const CalibrationOptions& options, const std::map<std::string, float>& thresholds,
                                                               const std::string& scratch_directory, const Progress& progress = {});

}  // namespace codecllm
