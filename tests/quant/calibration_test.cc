// SPDX-License-Identifier: Apache-2.0
#include "paths.h"
#include "quant/calibration.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/memory.h"
#include "base/utf8.h"
#include "quant/calibrated.h"
#include "quant/convert.h"

namespace codecllm {
namespace {

TEST(CalibrationSamples, AreSpreadOverTheTextAndDoNotOverlap) {
  const test::TempDirectory temp;
  test::copied_model("llama", temp / "m");
  write_file_atomically(temp / "m/tokenizer.json", test::tiny_tokenizer_json());
  temp.write("text", test::words(400, 2));
  const ModelSpec spec = read_spec(Checkpoint(temp / "m"));
  const auto tokens = test::tiny_tokenizer().encode(test::words(400, 2), true, false);
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

// Of a long text pieces are read, from its beginning to its end.
TEST(CalibrationSamples, OfALongTextComeFromAllOfItAndOnlyPiecesAreRead) {
  const test::TempDirectory temp;
  test::copied_model("llama", temp / "m");
  write_file_atomically(temp / "m/tokenizer.json", test::tiny_tokenizer_json());
  std::string text;
  for (const char* line : {"the hen ran\n", "the sun, why?\n", "12 man\n"})
    for (int i = 0; i < 10000; ++i) text += line;
  temp.write("text", text);
  const CalibrationOptions options = {.text = temp / "text", .samples = 24, .tokens = 16, .text_bytes = 20000};
  const std::vector<std::string> pieces = calibration_text(options);
  size_t bytes = 0, at = 0;
  for (const std::string& piece : pieces) {
    bytes += piece.size();
    EXPECT_GT(piece.size(), 1000u);
    at = text.find(piece, at);
    ASSERT_NE(at, std::string::npos);
    EXPECT_TRUE(at == 0 || text[at - 1] == '\n');
  }
  EXPECT_LE(bytes, 20000u);
  EXPECT_TRUE(text.starts_with(pieces.front()));
  EXPECT_TRUE(text.ends_with(pieces.back()));
  const ModelSpec spec = read_spec(Checkpoint(temp / "m"));
  const CalibrationSamples samples = calibration_samples(temp / "m", spec, options);
  ASSERT_EQ(samples.samples.size(), 24u);
  EXPECT_EQ(samples.samples, calibration_samples(temp / "m", spec, options).samples);
  int hens = 0, suns = 0, men = 0;
  for (const std::vector<int32_t>& sample : samples.samples) {
    const std::string said = test::tiny_tokenizer().decode(sample);
    hens += said.find("hen") != std::string::npos, suns += said.find("sun") != std::string::npos, men += said.find("man") != std::string::npos;
  }
  for (const int count : {hens, suns, men}) EXPECT_GE(count, 6) << hens << " " << suns << " " << men;
}

// Larger than any file that is read whole, and mostly not there.
TEST(CalibrationSamples, TakeATextOfAnySize) {
  const test::TempDirectory temp;
  test::copied_model("llama", temp / "m");
  write_file_atomically(temp / "m/tokenizer.json", test::tiny_tokenizer_json());
  temp.write("text", test::words(4000, 2));
  std::filesystem::resize_file(temp / "text", uintmax_t{3} << 30);
  const CalibrationOptions options = {.text = temp / "text", .samples = 2, .tokens = 16, .text_bytes = 32768};
  size_t bytes = 0;
  for (const std::string& piece : calibration_text(options)) bytes += piece.size();
  EXPECT_LE(bytes, 32768u);
  EXPECT_EQ(calibration_samples(temp / "m", read_spec(Checkpoint(temp / "m")), options).samples.size(), 2u);
}

TEST(CalibrationSamples, CutNoCharacter) {
  const test::TempDirectory temp;
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "\u00e4\u20ac\U0001f600";  // two, three and four bytes, no line end
  for (const int64_t most : {1000, 1600, 4444, 16001}) {
    temp.write("text", text);
    for (const std::string& piece : calibration_text({.text = temp / "text", .text_bytes = most})) {
      EXPECT_TRUE(is_utf8(piece)) << most;
      EXPECT_GT(piece.size() + 7, static_cast<size_t>(most) / 16);
    }
  }
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
  temp.write("text", test::words(100, 3));
  const Checkpoint checkpoint(temp / "m");
  const ModelSpec spec = read_spec(checkpoint);
  const CalibrationOptions options = {.text = temp / "text", .tokens = 16};
  const auto calibrate = [&](const Progress& progress) {
    calibrate_outliers(test::two_threads(), checkpoint, spec, options, {{spec.block(0).q, 6.0f}}, temp.path(), progress);
  };
  const std::string sick = test::error_of([&] { calibrate({}); }, ErrorCode::bad_input);
  EXPECT_NE(sick.find("model.layers.1.mlp.gate_proj"), std::string::npos) << sick;
  const std::string stopped = test::error_of([&] { calibrate([](double, std::string_view) { return false; }); }, ErrorCode::interrupted);
  EXPECT_NE(stopped.find("starts over"), std::string::npos) << stopped;
}

// A layer that saw nothing is named, whatever looks at its inputs.
TEST(Calibrate, NamesLayersThatSawNothing) {
  const test::TempDirectory temp;
  test::calibrated_model(temp, "llama", [](test::Tensors& tensors) {
    test::Tensor& norm = tensors.at("model.layers.1.post_attention_layernorm.weight");
    for (size_t i = 0; i < test::values_of(norm).size(); ++i) test::set_value(norm, i, 0);
  });
  for (const auto& [scheme, algorithm] : {std::pair{"w8a8-static", "rtn"}, {"int4-g128", "gptq"}, {"int8", "smoothquant"}}) {
    QuantizeOptions options = {.scheme = scheme_preset(scheme)};
    options.algorithm.name = algorithm;
    options.algorithm.calibration = test::few_samples(temp);
    const QuantizeResult result = quantize_checkpoint(test::two_threads(), temp / "m", temp / algorithm, options);
    const auto names = [&](const char* layer) {
      return std::count_if(result.notes.begin(), result.notes.end(), [&](const std::string& n) { return n.find(layer) != std::string::npos; });
    };
    EXPECT_EQ(names("model.layers.1.mlp.gate_proj saw nothing but zeros"), 1) << algorithm;
    EXPECT_EQ(names("model.layers.0.mlp.gate_proj saw nothing"), 0) << algorithm;
    for (const LayerReport& layer : result.layers) EXPECT_GT(layer.sqnr_db, 3) << algorithm << " " << layer.name;  // never zeros
  }
}

// Hidden states lie on disk and statistics are sums, so that a thousand samples take the memory of a few.
// up_proj's factor that down_proj takes off again: the same function, whose inputs have no squares in F32.
TEST(Calibrate, GptqOfInputsWhoseSquaresAreNoNumbers) {
  for (const float factor : {0x1p-75f, 0x1p75f}) {
    const test::TempDirectory temp;
    test::calibrated_model(temp, "llama-bf16", [&](test::Tensors& tensors) {
      const auto times = [&](const char* name, float by) {
        test::Tensor& tensor = tensors.at(std::string("model.layers.0.mlp.") + name + ".weight");
        const std::vector<float> values = test::values_of(tensor);
        for (size_t i = 0; i < values.size(); ++i) test::set_value(tensor, i, values[i] * by);
      };
      times("up_proj", factor);
      times("down_proj", 1 / factor);
    });
    QuantizeOptions options = {.scheme = scheme_preset("int4-g32")};
    options.algorithm = {.name = "gptq", .calibration = test::few_samples(temp)};
    const auto run = [&] { return quantize_checkpoint(test::two_threads(), temp / "m", temp / "q", options); };
    if (factor < 1) {
      for (const LayerReport& layer : run().layers) EXPECT_GT(layer.sqnr_db, 3) << layer.name;
    } else {
      EXPECT_NE(test::error_of([&] { run(); }).find("squares overflow"), std::string::npos);
    }
  }
}

TEST(Calibrate, MemoryDoesNotGrowWithTheSamples) {
  if (test::kSanitized) GTEST_SKIP() << "sanitizers keep what is freed";
  const test::TempDirectory temp;
  test::calibrated_model(temp, "llama");
  temp.write("text", test::words(40000, 9));
  QuantizeOptions options = {.scheme = scheme_preset("w8a8-static")};
  const auto peak = [&](int64_t samples) {
    options.algorithm.calibration = {.text = temp / "text", .samples = samples, .tokens = 16};
    const QuantizeResult result = quantize_checkpoint(test::two_threads(), temp / "m", temp / std::to_string(samples), options);
    EXPECT_TRUE(result.notes.empty());
    return static_cast<double>(peak_rss_bytes());
  };
  const double few = peak(8), many = peak(1024);
  // Hidden states alone are 2 MB, and what the layers of a block read is 11 MB.
  EXPECT_LT(many - few, 1e6);
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
  const std::vector<double> squares = statistics.channel_mean_square();
  for (int64_t i = 0; i < kColumns; ++i) {
    EXPECT_NEAR(means[i], mean[i] / static_cast<double>(rows), 1e-6);
    EXPECT_EQ(statistics.channel_amax()[i], largest[i]);
    EXPECT_NEAR(squares[i], gram[i * kColumns + i] / static_cast<double>(rows), 1e-12);
    for (int64_t j = 0; j < kColumns; ++j) {
      // Sums of up to 1600 terms of about 1 in f32, in runs.
      EXPECT_NEAR(got[i * kColumns + j], gram[i * kColumns + j] / static_cast<double>(rows), 1600 * 0x1p-24 * 2);
      EXPECT_EQ(got[i * kColumns + j], got[j * kColumns + i]);
    }
  }
}

}  // namespace
}  // namespace codecllm
