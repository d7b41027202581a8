// SPDX-License-Identifier: Apache-2.0
// Tiny models with a tokenizer and a text to calibrate with, and what their layers read.
#pragma once

#include "base/rng.h"
#include "gen/tiny_tokenizer.h"
#include "quant/calibration.h"
#include "quant/quantize.h"
#include "quant/support.h"

namespace codecllm::test {

inline std::string words(size_t n, uint64_t seed) {
  static constexpr const char* kWords[] = {"the ", "hen ", "ran ", "in ", "a ", "sun, ", "why? ", "12 ", "man "};
  Rng rng(seed);
  std::string text;
  for (size_t i = 0; i < n; ++i) text += kWords[rng.below(9)];
  return text;
}

// m: the model, its tensors changed by `edit`; text: what to calibrate with.
template <class Edit>
void calibrated_model(const TempDirectory& temp, const std::string& name, const Edit& edit) {
  edited_model(name, temp / "m", edit);
  write_file_atomically(temp / "m/tokenizer.json", tiny_tokenizer_json());
  temp.write("text", words(400, 1));
}
inline void calibrated_model(const TempDirectory& temp, const std::string& name) {
  calibrated_model(temp, name, [](Tensors&) {});
}

inline CalibrationOptions few_samples(const TempDirectory& temp) { return {.text = temp / "text", .samples = 5, .tokens = 24}; }

// body(layer, value that linear layers read, point) for all samples through the whole model.
template <class Body>
void for_inputs(const std::string& directory, const CalibrationOptions& options, const Body& body) {
  const DecoderModel model = load_model(two_threads(), directory);
  const CalibrationSamples samples = calibration_samples(directory, model.spec, options);
  KvCache cache(model.spec, KvType::f16, samples.window);
  Forward forward(model, cache);
  for (const auto& tokens : samples.samples) {
    KvSequence sequence;
    cache.grow(sequence, samples.window);
    std::vector<BatchRow> rows;
    for (int64_t i = 0; i < samples.window; ++i) rows.push_back({tokens[i], &sequence, i, false});
    forward.run(rows, [&](const TapPoint& point) {
      if (point.layer < 0) return;
      for (const BlockInput& input : block_inputs(model.spec, point.layer))
        if (input.tap == point.op) body(point.layer, input, point);
    });
    cache.truncate(sequence, 0);
  }
}

}  // namespace codecllm::test
