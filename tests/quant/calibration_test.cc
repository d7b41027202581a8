// SPDX-License-Identifier: Apache-2.0
#include "quant/calibration.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/rng.h"
#include "gen/tiny_tokenizer.h"
#include "quant/convert.h"
#include "quant/support.h"

namespace codecllm {
namespace {

std::string words(size_t n, uint64_t seed) {
  static constexpr const char* kWords[] = {"the ", "hen ", "ran ", "in ", "a ", "sun, ", "why? ", "12 ", "man "};
  Rng rng(seed);
  std::string text;
  for (size_t i = 0; i < n; ++i) text += kWords[rng.below(9)];
  return text;
}

class Calibration : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    test::copied_model(GetParam(), temp_ / "m");
    write_file_atomically(temp_ / "m/tokenizer.json", test::tiny_tokenizer_json());
    temp_.write("text", words(400, 1));
  }
  const test::TempDirectory temp_;
};

// Block by block, the ranges are those of what the whole model's linear layers read.
TEST_P(Calibration, RangesAreThoseOfTheWholeModel) {
  const Checkpoint checkpoint(temp_ / "m");
  const ModelSpec spec = read_spec(checkpoint);
  const CalibrationOptions options = {.text = temp_ / "text", .samples = 5, .tokens = 24};
  const CalibrationSamples samples = calibration_samples(temp_ / "m", spec, options);
  ASSERT_EQ(samples.samples.size(), 5u);

  const DecoderModel model = load_model(test::two_threads(), temp_ / "m");
  std::map<std::string, Range> expected;
  KvCache cache(model.spec, KvType::f16, 24);
  Forward forward(model, cache);
  for (const auto& tokens : samples.samples) {
    KvSequence sequence;
    cache.grow(sequence, 24);
    std::vector<BatchRow> rows;
    for (int64_t i = 0; i < 24; ++i) rows.push_back({tokens[i], &sequence, i, false});
    forward.run(rows, [&](const TapPoint& point) {
      if (point.layer < 0) return;
      for (const BlockInput& input : block_inputs(spec, point.layer))
        if (input.tap == point.op)
          for (const LinearSpec& linear : input.readers)
            for (int64_t r = 0; r < point.rows; ++r)
              expected[linear.name].include(finite_range({point.data + r * point.stride, static_cast<size_t>(point.columns)}));
    });
    cache.truncate(sequence, 0);
  }
  std::vector<double> shares;
  const auto got = calibrate_ranges(test::two_threads(), checkpoint, spec, options, {.num_bits = 8}, temp_.path(),
                                    [](const std::string& sentence) { ADD_FAILURE() << sentence; },
                                    [&](double done, std::string_view) { shares.push_back(done); return true; });
  ASSERT_EQ(got.size(), expected.size());
  for (const auto& [name, range] : expected) {
    EXPECT_EQ(got.at(name).low, range.low) << name;
    EXPECT_EQ(got.at(name).high, range.high) << name;
  }
  EXPECT_TRUE(std::is_sorted(shares.begin(), shares.end()));
  EXPECT_EQ(shares.size(), static_cast<size_t>(5 * spec.layers));
}

INSTANTIATE_TEST_SUITE_P(, Calibration, ::testing::Values("llama", "llama-bf16", "mistral", "qwen3"), [](const auto& p) {
  std::string name = p.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(CalibrationSamples, AreSpreadOverTheTextAndDoNotOverlap) {
  const test::TempDirectory temp;
  test::copied_model("llama", temp / "m");
  write_file_atomically(temp / "m/tokenizer.json", test::tiny_tokenizer_json());
  temp.write("text", words(400, 2));
  const ModelSpec spec = read_spec(Checkpoint(temp / "m"));
  const auto tokens = test::tiny_tokenizer().encode(words(400, 2), true, false);
  const auto take = [&](int64_t samples, int64_t window) {
    return calibration_samples(temp / "m", spec, {.text = temp / "text", .samples = samples, .tokens = window});
  };
  const int64_t windows = static_cast<int64_t>(tokens.size()) / 16;
  EXPECT_EQ(static_cast<int64_t>(take(512, 16).samples.size()), windows);
  const CalibrationSamples few = take(4, 16);
  ASSERT_EQ(few.samples.size(), 4u);
  for (int64_t i = 0; i < 4; ++i)
    EXPECT_EQ(few.samples[i], std::vector<int32_t>(tokens.begin() + i * windows / 4 * 16, tokens.begin() + (i * windows / 4 + 1) * 16));
  EXPECT_EQ(take(512, 0).window, 64);  // the trained length, below 512
  test::error_of([&] { take(0, 16); }, ErrorCode::bad_call);
  test::error_of([&] { take(1, 100000); }, ErrorCode::bad_call);
}

TEST(CalibrationSamples, TakeTheTokenizerOfAGgufFile) {
  const test::TempDirectory temp;
  const std::string model = test::source_path("models/codecllm-stories"), gguf = temp / "m.gguf";
  convert_checkpoint(test::two_threads(), model, gguf, {.format = "gguf"});
  const ModelSpec spec = read_spec(Checkpoint(model));
  const CalibrationOptions options = {.text = model + "/prompts.txt", .samples = 4, .tokens = 16};
  EXPECT_EQ(calibration_samples(gguf, spec, options).samples, calibration_samples(model, spec, options).samples);
}

TEST(Calibrate, StopsWhenToldAndNamesWhatIsSick) {
  const test::TempDirectory temp;
  test::edited_model("llama", temp / "m", [](test::Tensors& tensors) {
    test::set_value(tensors.at("model.layers.1.post_attention_layernorm.weight"), 3, std::numeric_limits<float>::infinity());
  });
  write_file_atomically(temp / "m/tokenizer.json", test::tiny_tokenizer_json());
  temp.write("text", words(100, 3));
  const Checkpoint checkpoint(temp / "m");
  const ModelSpec spec = read_spec(checkpoint);
  const CalibrationOptions options = {.text = temp / "text", .tokens = 16};
  const auto calibrate = [&](const Progress& progress) {
    calibrate_ranges(test::two_threads(), checkpoint, spec, options, {.num_bits = 8}, temp.path(), [](const std::string&) {}, progress);
  };
  const std::string sick = test::error_of([&] { calibrate({}); }, ErrorCode::bad_input);
  EXPECT_NE(sick.find("model.layers.1.mlp.gate_proj"), std::string::npos) << sick;
  test::error_of([&] { calibrate([](double, std::string_view) { return false; }); }, ErrorCode::interrupted);
}

TEST(InputStatistics, EqualTheFormulas) {
  constexpr int64_t kColumns = 37, kStride = 40;
  Rng rng(4);
  InputStatistics statistics(test::two_threads(), kColumns, kRangeStatistics | kChannelStatistics | kGramStatistics);
  std::vector<double> gram(kColumns * kColumns), mean(kColumns), largest(kColumns);
  int64_t rows = 0;
  for (int64_t count : {700, 1, 900, 33}) {
    std::vector<float> x(static_cast<size_t>(count * kStride));
    for (float& v : x) v = static_cast<float>(rng.normal());
    statistics.add(x.data(), count, kStride, "it");
    for (int64_t r = 0; r < count; ++r)
      for (int64_t i = 0; i < kColumns; ++i) {
        const double a = x[r * kStride + i];
        mean[i] += std::fabs(a);
        largest[i] = std::max(largest[i], std::fabs(a));
        for (int64_t j = 0; j < kColumns; ++j) gram[i * kColumns + j] += a * x[r * kStride + j];
      }
    rows += count;
  }
  EXPECT_EQ(statistics.rows(), rows);
  EXPECT_EQ(statistics.histogram().count(), rows * kColumns);
  const std::vector<float> got = statistics.take_gram(), means = statistics.channel_mean();
  for (int64_t i = 0; i < kColumns; ++i) {
    EXPECT_NEAR(means[i], mean[i] / static_cast<double>(rows), 1e-6);
    EXPECT_EQ(statistics.channel_amax()[i], largest[i]);
    for (int64_t j = 0; j < kColumns; ++j) {
      // Sums of up to 1600 terms of about 1 in f32, in runs.
      EXPECT_NEAR(got[i * kColumns + j], gram[i * kColumns + j] / static_cast<double>(rows), 1600 * 0x1p-24 * 2);
      EXPECT_EQ(got[i * kColumns + j], got[j * kColumns + i]);
    }
  }
}

}  // namespace
}  // namespace codecllm
