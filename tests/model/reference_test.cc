// SPDX-License-Identifier: Apache-2.0
// Tiny random models against Hugging Face transformers' logits and hidden states (tools/dump_reference.py).
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "base/cpu.h"
#include "model/forward.h"
#include "paths.h"
#include "tiers.h"

namespace codecllm {
namespace {

std::vector<std::string> cases() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(test::source_path("tests/model/data")))
    if (entry.is_directory()) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<float> floats(const SafetensorsFile& file, const std::string& name) {
  const TensorInfo* tensor = file.find(name);
  if (tensor == nullptr) throw Error(ErrorCode::bad_input, "test", "no tensor " + name);
  std::vector<float> values(tensor->elements());
  std::memcpy(values.data(), tensor->data.data(), tensor->data.size());
  return values;
}

std::vector<int64_t> ids(const SafetensorsFile& file, const std::string& name) {
  const TensorInfo* tensor = file.find(name);
  std::vector<int64_t> values(tensor->elements());
  std::memcpy(values.data(), tensor->data.data(), tensor->data.size());
  return values;
}

// Both sides compute in f32 from the same weights. Each op of a block rounds its sums of up to `width` terms, and the
// residual stream carries the errors of all blocks before it; random weights amplify by the stream's growth, which the
// values' own size measures. 2^-24 * sqrt(width) per op, a dozen ops per block, with a factor 8 for the tail.
// Where activations are rounded to BF16, two such errors a block, and the same factor, outweigh all of this.
double bound(const std::vector<float>& values, int64_t width, int64_t blocks, bool bf16_activations) {
  double largest = 0;
  for (float v : values) largest = std::max(largest, std::fabs(static_cast<double>(v)));
  if (bf16_activations) return 8 * largest * 0x1p-9 * static_cast<double>(blocks + 1);
  return 8 * largest * 0x1p-24 * std::sqrt(static_cast<double>(width)) * 12 * static_cast<double>(blocks + 1);
}

struct Result {
  std::vector<float> logits;
  std::map<std::string, std::vector<float>> taps;
};

Result run_forward(const DecoderModel& model, const std::vector<int64_t>& tokens, KvType kv, size_t chunk) {
  KvCache cache(model.spec, kv, static_cast<int64_t>(tokens.size()));
  KvSequence sequence;
  Forward forward(model, cache);
  Result result;
  for (size_t begin = 0; begin < tokens.size(); begin += chunk) {
    std::vector<BatchRow> rows;
    for (size_t i = begin; i < std::min(tokens.size(), begin + chunk); ++i)
      rows.push_back({static_cast<int32_t>(tokens[i]), &sequence, static_cast<int64_t>(i), true});
    cache.grow(sequence, static_cast<int64_t>(rows.size()));
    const auto logits = forward.run(rows, [&](const TapPoint& point) {
      const std::string key = point.op == "embedding" ? "hidden.0"
                              : point.op == "block"   ? "hidden." + std::to_string(point.layer + 1)
                                                      : std::string(point.op);
      auto& out = result.taps[key];
      for (int64_t r = 0; r < point.rows; ++r)
        out.insert(out.end(), point.data + r * point.stride, point.data + r * point.stride + point.columns);
    });
    result.logits.insert(result.logits.end(), logits.begin(), logits.end());
  }
  return result;
}

void expect_near(const std::vector<float>& got, const std::vector<float>& expected, double tolerance, const std::string& what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::fabs(static_cast<double>(got[i]) - expected[i]));
  EXPECT_LE(worst, tolerance) << what;
}

class Reference : public ::testing::TestWithParam<std::string> {};

TEST_P(Reference, LogitsAndHiddenStatesAgree) {
  const std::string directory = test::source_path("tests/model/data/" + GetParam());
  const SafetensorsFile reference(directory + "/reference.safetensors");
  const auto tokens = ids(reference, "input_ids");
  for (Isa isa : available_isas()) {
    const Context context({.threads = 2, .isa = std::string(isa_name(isa))});
    const DecoderModel model = load_model(context, directory);
    const bool rounded = test::rounds_to_bf16(isa) && GetParam().ends_with("bf16");
    const int64_t width = std::max(model.spec.hidden, model.spec.intermediate);
    // Token by token through the cache, in ragged chunks, and all at once: the same sums in the same order.
    const Result whole = run_forward(model, tokens, KvType::f32, tokens.size());
    for (const auto& [name, values] : whole.taps) {
      if (reference.find(name) == nullptr) continue;
      const auto expected = floats(reference, name);
      const int64_t blocks = name == "final_norm" ? model.spec.layers : std::stoi(name.substr(7));
      expect_near(values, expected, bound(expected, width, blocks, rounded), GetParam() + " " + name);
    }
    const auto logits = floats(reference, "logits");
    expect_near(whole.logits, logits, bound(logits, width, model.spec.layers + 1, rounded), GetParam() + " logits");
    if (model.spec.rope.type == "dynamic") continue;  // its frequencies depend on the length so far
    EXPECT_EQ(run_forward(model, tokens, KvType::f32, 1).logits, whole.logits);
    EXPECT_EQ(run_forward(model, tokens, KvType::f32, 7).logits, whole.logits);
  }
}

INSTANTIATE_TEST_SUITE_P(, Reference, ::testing::ValuesIn(cases()), [](const auto& name) {
  std::string text = name.param;
  std::replace(text.begin(), text.end(), '-', '_');
  return text;
});

}  // namespace
}  // namespace codecllm
