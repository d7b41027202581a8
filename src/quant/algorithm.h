// SPDX-License-Identifier: Apache-2.0
// How codes are found: the table of algorithm.def.
#pragma once

#include <string>
#include <vector>

#include "model/wiring.h"
#include "quant/calibration.h"
#include "quant/layer.h"

namespace codecllm {

struct AlgorithmOptions {
  std::string name = "rtn";
  bool clip = false;        // scales of the smallest squared error of the weights, instead of the largest weight's
  float alpha = 0.5f;       // smoothquant: how much of the difficulty moves to the weights
  double damping = 0.01;    // gptq
  bool act_order = true;    // gptq
  CalibrationOptions calibration;
};

// What is known about the value that some layers read.
struct InputKnowledge {
  float largest = 0;                              // magnitude
  Histogram seen;                                 // for static scales
  std::vector<float> channel_amax, channel_mean;  // [columns]
  std::vector<float> gram;                        // [columns, columns], X^T X / rows
};

struct Algorithm {
  std::string name;
  unsigned statistics;
  bool sees_quantized;
  bool norms_only;  // smooths values behind norms, and no others
  // Factors for the channels of one value.
  std::vector<float> (*smooth)(const Context&, const BlockInput&, const std::vector<LayerTask>& readers, const InputKnowledge&,
                               const AlgorithmOptions&);
  // Grids of one layer's cells; may change the weights. Empty: by the rule.
  std::vector<Grid> (*solve)(const Context&, const BlockInput&, LayerTask&, const InputKnowledge&, const AlgorithmOptions&);

  std::string parameters;  // those of AlgorithmOptions that it looks at, by their names in recipes, with spaces between

  bool calibrates() const { return statistics != 0; }
};

// By name, or two joined by "+" of which the first smooths and the second finds codes ("smoothquant+gptq", "awq+gptq"). Throws Error(bad_call)
// that lists the algorithms.
Algorithm algorithm_named(const std::string& name);

// The same; throws Error(bad_call), too, where one that needs a calibration text has none.
Algorithm find_algorithm(const AlgorithmOptions& options);

// What is left of an algorithm where nothing can be smoothed.
std::string without_smoothing(const std::string& name);

}  // namespace codecllm
