// SPDX-License-Identifier: Apache-2.0
// What GPTQ and AWQ do for a layer of the shipped model, on inputs that calibration did not see.
#include <gtest/gtest.h>

#include "format/plain_float.h"
#include "quant/awq.h"
#include "quant/calibrated.h"
#include "quant/gptq.h"

namespace codecllm {
namespace {

struct SeenInput {
  std::vector<float> gram, mean;
};

// By tap, of one block.
std::map<std::string, SeenInput> inputs_of_block(const std::string& model, const std::string& text, int64_t block) {
  std::map<std::string, InputStatistics> statistics;
  test::for_inputs(model, {.text = text, .samples = 10}, [&](int64_t layer, const BlockInput& input, const TapPoint& point) {
    if (layer != block) return;
    auto& seen = statistics.try_emplace(std::string(input.tap), test::two_threads(), input.columns, kChannelStatistics | kGramStatistics).first->second;
    seen.add(point.data, point.rows, point.stride, "layer");
  });
  std::map<std::string, SeenInput> inputs;
  for (auto& [tap, seen] : statistics) inputs[tap] = {seen.take_gram(), seen.channel_mean()};
  return inputs;
}

class HeldOut : public ::testing::TestWithParam<const char*> {};

TEST_P(HeldOut, LayerOutputErrorOfGptqAndAwqIsBelowThatOfRounding) {
  if (test::kSanitized) GTEST_SKIP() << "a whole model, for its activations";
  constexpr int64_t kBlock = 3;
  const test::TempDirectory temp;
  const std::string model = test::source_path("models/codecllm-stories"), text = read_file(model + "/heldout.txt");
  const size_t middle = text.find('\n', text.size() / 2);
  temp.write("calibrate", text.substr(0, middle));
  temp.write("rest", text.substr(middle + 1));
  const auto calibration = inputs_of_block(model, temp / "calibrate", kBlock), rest = inputs_of_block(model, temp / "rest", kBlock);
  const Checkpoint checkpoint(model);
  const ModelSpec spec = read_spec(checkpoint);
  const QuantArgs args = *scheme_preset(GetParam()).weights;
  ASSERT_EQ(calibration.size(), 4u);
  for (const BlockInput& input : block_inputs(spec, kBlock))
    for (const LinearSpec& reader : input.readers) {
      const SeenInput& seen = calibration.at(std::string(input.tap));
      const std::vector<float>& unseen = rest.at(std::string(input.tap)).gram;
      LayerTask task = {.linear = reader, .args = args};
      const TensorInfo& tensor = checkpoint.need(reader.name + ".weight");
      for (int64_t i = 0; i < reader.rows * reader.columns; ++i) task.weights.push_back(load_float(tensor.data.data(), i, tensor.dtype));
      const auto loss = [&](std::vector<float> weights) {
        for (size_t i = 0; i < weights.size(); ++i) weights[i] -= task.weights[i];
        return output_error(test::two_threads(), weights, reader.rows, unseen, reader.columns);
      };
      const double rtn = loss(round_layer(test::two_threads(), task, fit_grids(test::two_threads(), task, false)));

      LayerTask fed_back = task;
      gptq(test::two_threads(), fed_back, seen.gram);
      EXPECT_LT(loss(fed_back.weights), rtn) << reader.name;

      const std::vector<float> s = awq_scales(test::two_threads(), {task}, seen.mean, seen.gram);
      const auto columns = static_cast<size_t>(reader.columns);
      LayerTask scaled = task;
      for (size_t i = 0; i < scaled.weights.size(); ++i) scaled.weights[i] *= s[i % columns];
      std::vector<float> gram = seen.gram;
      for (size_t i = 0; i < gram.size(); ++i) gram[i] /= s[i / columns] * s[i % columns];
      std::vector<float> rounded = round_layer(test::two_threads(), scaled, awq_clip(test::two_threads(), scaled, gram));
      for (size_t i = 0; i < rounded.size(); ++i) rounded[i] /= s[i % columns];
      EXPECT_LT(loss(rounded), rtn) << reader.name;
      RecordProperty(reader.name, std::to_string(loss(fed_back.weights) / rtn) + " " + std::to_string(loss(rounded) / rtn));
    }
}

INSTANTIATE_TEST_SUITE_P(, HeldOut, ::testing::Values("int4-g128", "int3-g32-asym"),
                         [](const auto& p) { std::string name = p.param; std::replace(name.begin(), name.end(), '-', '_'); return name; });

}  // namespace
}  // namespace codecllm
