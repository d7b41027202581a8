// SPDX-License-Identifier: Apache-2.0
// Asymmetric integers, integers of any width, 8-bit floats and quantized activations, from file to matrix.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "format/float8.h"
#include "model/forward.h"
#include "quant/naive.h"
#include "quant/quantize.h"

namespace codecllm {
namespace {

using ::testing::HasSubstr;
using test::Tensors;

// Of all codes the one whose value is nearest to x, the even one of two that are equally near.
float nearest_float8(double x, const Float8& format) {
  double best = INFINITY;
  int best_code = 0;
  for (int code = 0; code < 128; ++code) {
    const double value = float8_to_f32(static_cast<uint8_t>(code), format);
    const double distance = std::fabs(std::fabs(x) - value);
    if (!std::isfinite(value) || distance > best || (distance == best && code % 2 != 0)) continue;
    best = distance;
    best_code = code;
  }
  const float value = float8_to_f32(static_cast<uint8_t>(best_code), format);
  return x < 0 ? -value : value;
}

struct NaiveGrid {
  float scale;
  int zero;
};

NaiveGrid naive_grid(float low, float high, const QuantArgs& args, DType stored) {
  const float amax = std::fmax(-low, high);
  if (args.type != NumberType::integer)
    return {test::rounded(amax / (args.type == NumberType::floating ? 448.0f : 57344.0f), stored), 0};
  const auto limit = static_cast<float>((1 << (args.num_bits - 1)) - 1);
  if (args.symmetric) return {test::rounded(amax / limit, stored), 0};
  const auto steps = static_cast<float>((1 << args.num_bits) - 1);
  const float scale = test::rounded(high / steps - low / steps, stored);
  const float zero = std::nearbyint(-limit - 1 - low / scale);
  return {scale, static_cast<int>(std::fmin(limit, std::fmax(-limit - 1, zero)))};
}

float naive_value(float x, const NaiveGrid& grid, const QuantArgs& args) {
  if (args.type != NumberType::integer)
    return nearest_float8(x / grid.scale, args.type == NumberType::floating ? kE4m3 : kE5m2) * grid.scale;
  const auto high = static_cast<float>((1 << (args.num_bits - 1)) - 1), low = args.symmetric ? -high : -high - 1;
  const float code = std::nearbyint(std::fmin(high, std::fmax(low, x / grid.scale + static_cast<float>(grid.zero))));
  return (code - static_cast<float>(grid.zero)) * grid.scale;
}

// Every value of a weight, quantized by the formula.
std::vector<float> naive_weight(const test::Tensor& source, const QuantArgs& args) {
  const int64_t rows = source.decl.shape[0], columns = source.decl.shape[1];
  int64_t height = 1, width = columns;
  if (args.strategy == Strategy::tensor) height = rows;
  if (args.strategy == Strategy::group) width = test::naive_group(args, columns);
  if (args.strategy == Strategy::block) height = args.block[0], width = args.block[1];
  const std::vector<float> x = test::values_of(source);
  std::vector<float> out(x.size());
  for (int64_t top = 0; top < rows; top += height)
    for (int64_t left = 0; left < columns; left += width) {
      const auto each = [&](auto body) {
        for (int64_t n = top; n < std::min(rows, top + height); ++n)
          for (int64_t k = left; k < std::min(columns, left + width); ++k) body(n * columns + k);
      };
      float low = 0, high = 0;
      each([&](int64_t i) { low = std::fmin(low, x[i]), high = std::fmax(high, x[i]); });
      const NaiveGrid grid = naive_grid(low, high, args, source.decl.dtype);
      each([&](int64_t i) { out[i] = naive_value(x[i], grid, args); });
    }
  return out;
}

class Formats : public ::testing::TestWithParam<const char*> {
 protected:
  QuantizeResult quantize(const char* model, const std::string& name, const Progress& progress = {}) {
    return quantize_checkpoint(test::two_threads(), test::model_data(model), temp_ / name, {.scheme = scheme_preset(GetParam())}, progress);
  }
  test::TempDirectory temp_;
};

TEST_P(Formats, EveryWeightIsWhatTheFormulaGives) {
  const QuantScheme scheme = scheme_preset(GetParam());
  for (const char* source : {"llama-bf16", "llama", "llama-f16"}) {
    const QuantizeResult result = quantize(source, source);
    EXPECT_TRUE(result.bad.empty());
    const DecoderModel model = load_model(test::two_threads(), temp_ / source);
    const Tensors original = test::read_tensors(test::model_data(source));
    for (int64_t layer = 0; layer < model.spec.layers; ++layer) {
      const BlockNames names = model.spec.block(layer);
      const BlockWeights& block = model.weights.blocks[layer];
      for (const auto& [name, linear] : {std::pair{names.q, &block.q}, {names.o, &block.o}, {names.up, &block.up}, {names.down, &block.down}}) {
        const MatrixView& w = linear->weight.view();
        const std::vector<float> expected = naive_weight(original.at(name + ".weight"), *scheme.weights);
        std::vector<float> row(w.columns);
        for (int64_t n = 0; n < w.rows; ++n) {
          read_row(w, n, row.data());
          for (int64_t k = 0; k < w.columns; ++k) ASSERT_EQ(row[k], expected[n * w.columns + k]) << name << " " << n << ", " << k;
        }
      }
    }
  }
}

TEST_P(Formats, TheModelRunsWithTheSchemesActivations) {
  quantize("llama-bf16", "q");
  const QuantScheme scheme = scheme_preset(GetParam());
  const DecoderModel model = load_model(test::two_threads(), temp_ / "q");
  EXPECT_EQ(model.scheme, GetParam());
  const ActivationMode mode = model.weights.blocks[0].down.weight.view().activation.mode;
  if (!scheme.activations) {
    EXPECT_EQ(mode, ActivationMode::a16);
  } else {
    EXPECT_EQ(mode, scheme.activations->strategy == Strategy::token    ? ActivationMode::a8_token
                    : scheme.activations->strategy == Strategy::tensor ? ActivationMode::a8_tensor
                                                                       : ActivationMode::a8_group);
  }
  KvCache cache(model.spec, KvType::f32, 16);
  KvSequence sequence;
  cache.grow(sequence, 16);
  Forward forward(model, cache);
  std::vector<BatchRow> rows;
  for (int64_t i = 0; i < 16; ++i) rows.push_back({static_cast<int32_t>(i * 37 % 96), &sequence, i, true});
  for (float v : forward.run(rows)) ASSERT_TRUE(std::isfinite(v));
}

TEST_P(Formats, TakenUpAfterAnInterruptionItIsTheSameBytes) {
  quantize("llama", "whole");
  for (int calls : {3, 9, 14}) {
    const std::string name = "out" + std::to_string(calls);
    int left = calls;
    EXPECT_THROW(quantize("llama", name, [&](double, std::string_view) { return --left > 0; }), Error);
    quantize("llama", name);
    EXPECT_EQ(test::difference(temp_ / name, temp_ / "whole"), "");
  }
}

TEST_P(Formats, VerificationNamesWhatIsDamaged) {
  quantize("llama-bf16", "q");
  const Checkpoint reference(test::model_data("llama-bf16"));
  const std::string module = "model.layers.1.mlp.up_proj";
  const Tensors good = test::read_tensors(temp_ / "q");
  const auto complaints = [&](const auto& damage) {
    Tensors tensors = good;
    damage(tensors);
    test::write_tensors(temp_ / "q/model.safetensors", tensors);
    std::string text;
    for (const std::string& bad : verify(test::two_threads(), Checkpoint(temp_ / "q"), &reference).bad) text += bad + "\n";
    return text;
  };
  EXPECT_EQ(complaints([](Tensors&) {}), "");
  EXPECT_THAT(complaints([&](Tensors& t) { test::set_value(t.at(module + ".weight_scale"), 0, 0); }), HasSubstr(module));
  EXPECT_THAT(complaints([&](Tensors& t) { test::set_value(t.at(module + ".weight_scale"), 0, NAN); }), HasSubstr(module));
  const std::string codes = good.contains(module + ".weight") ? module + ".weight" : module + ".weight_packed";
  if (scheme_preset(GetParam()).weights->type != NumberType::integer) {
    EXPECT_THAT(complaints([&](Tensors& t) { t.at(codes).data[3] = std::byte{0x7F}; }), HasSubstr("row 0 holds a code that stands for NaN"));
  }
  const auto flip = [&](size_t at) { return [&, at](Tensors& t) { t.at(codes).data[at] ^= std::byte{1}; }; };
  size_t at = 17;
  while ((std::to_integer<int>(good.at(codes).data[at]) & 0x7E) == 0x7E) ++at;  // the largest E4M3 would become NaN
  EXPECT_THAT(complaints(flip(at)), HasSubstr("not its source rounded to the nearest"));
}

INSTANTIATE_TEST_SUITE_P(, Formats,
                         ::testing::Values("w8a8", "w8a8-tensor", "fp8", "fp8-channel", "fp8-block", "fp8-e5m2", "int8-asym",
                                           "int4-g32-asym", "int3-g32", "int5", "int6-tensor-asym"),
                         [](const auto& scheme) {
                           std::string name = scheme.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace codecllm
