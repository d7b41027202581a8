// SPDX-License-Identifier: Apache-2.0
// What is done to which layers: ordered steps, each a scheme and an algorithm for the layers that it names. Of several
// steps that name a layer the last decides, so that a list may begin with what holds for most and end with single layers.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "quant/algorithm.h"
#include "quant/selection.h"

namespace codecllm {

struct RecipeStep {
  QuantScheme scheme;  // without weights: the layers stay as they are
  Selection selection;
  AlgorithmOptions algorithm;
  std::string file = {};  // that the step was read from
};

// The step that decides about a layer.
struct LayerChoice {
  LinearSpec linear;
  size_t step;
};

// {"version": 1, "steps": [{"targets": [...], "ignore": [...], "scheme": ..., "algorithm": ..., "parameters": {...}}]}; the
// whole of it is in docs/recipes.md. All steps calibrate with `calibration`. Throws Error(bad_call) that names the file,
// the step and the key: for keys that no step has, too.
std::vector<RecipeStep> read_recipe(const std::string& file, const CalibrationOptions& calibration);

// The layers that some step quantizes, in model order. Throws Error(bad_call) for a pattern that names no layer, and
// where no layer is left.
std::vector<LayerChoice> choose_layers(const ModelSpec& spec, const std::vector<RecipeStep>& steps);

}  // namespace codecllm
