// SPDX-License-Identifier: Apache-2.0
// Every preset from file to logits: each layer of the loaded model computes with the weights that the formula
// gives.
#include <gtest/gtest.h>

#include "model/forward.h"
#include "quant/naive.h"
#include "quant/quantize.h"
#include "tiers.h"

namespace codecllm {
namespace {

// Products are checked more finely than BF16.
const Context& float_context() {
  static const Context context({.threads = 2, .isa = test::float_isa()});
  return context;
}

using test::Tensor;
using test::Tensors;

// What the weights of the output are, each as float.
Tensors expected_weights(const std::string& model, const QuantScheme& scheme) {
  const ModelSpec spec = read_spec(Checkpoint(test::model_data(model)));
  Tensors tensors = test::read_tensors(test::model_data(model));
  for (auto& [name, tensor] : tensors) {
    std::vector<float> values = test::values_of(tensor);
    if (!scheme.weights)
      for (float& v : values) v = test::rounded(v, scheme.plain);
    tensor = test::make_tensor(name, DType::f32, tensor.decl.shape, values);
  }
  if (!scheme.weights) return tensors;
  const Tensors source = test::read_tensors(test::model_data(model));
  for (const LinearSpec& linear : spec.linears()) {
    if (linear.kind == LinearKind::lm_head) continue;
    const std::string name = linear.name + ".weight";
    const auto naive =
        test::naive_quantize(source.at(name), scheme.weights->num_bits,
                             test::naive_group(*scheme.weights, linear.columns), ScaleRule::restricted);
    tensors[name] = test::make_tensor(name, DType::f32, {linear.rows, linear.columns}, naive.values);
  }
  return tensors;
}

struct Rows {
  std::vector<float> values;
  int64_t columns = 0;
};

struct Result {
  std::map<std::string, Rows> taps;  // "0.q"
  std::vector<float> logits;
};

Result run_model(const DecoderModel& model, int64_t tokens) {
  KvCache cache(model.spec, KvType::f32, tokens);
  KvSequence sequence;
  cache.grow(sequence, tokens);
  Forward forward(model, cache);
  std::vector<BatchRow> rows;
  for (int64_t i = 0; i < tokens; ++i)
    rows.push_back({static_cast<int32_t>(i * 37 % 96), &sequence, i, true});
  Result result;
  const auto logits = forward.run(rows, [&](const TapPoint& point) {
    Rows& out = result.taps[point.layer < 0 ? std::string(point.op)
                                            : std::to_string(point.layer) + "." + std::string(point.op)];
    out.columns = point.columns;
    for (int64_t r = 0; r < point.rows; ++r)
      out.values.insert(out.values.end(), point.data + r * point.stride,
                        point.data + r * point.stride + point.columns);
  });
  result.logits.assign(logits.begin(), logits.end());
  return result;
}

// y = x W^T to within what the kernels may lose. Integer weights: half a step of 1/32512 of the row's largest
// activation for every weight, and 16 roundings of the sums. Plain ones: one rounding of f32 for every term.
void expect_product(const Rows& x, const std::vector<float>& y, const Tensor& weight, bool integer,
                    const std::string& what) {
  const std::vector<float> w = test::values_of(weight);
  const int64_t rows = weight.decl.shape[0], columns = x.columns,
                count = static_cast<int64_t>(x.values.size()) / columns;
  ASSERT_EQ(weight.decl.shape[1], columns) << what;
  ASSERT_EQ(y.size(), static_cast<size_t>(count * rows)) << what;
  for (int64_t m = 0; m < count; ++m)
    for (int64_t n = 0; n < rows; ++n) {
      double exact = 0, magnitude = 0, weights = 0, largest = 0;
      for (int64_t k = 0; k < columns; ++k) {
        const double a = x.values[m * columns + k], b = w[n * columns + k];
        exact += a * b;
        magnitude += std::fabs(a * b);
        weights += std::fabs(b);
        largest = std::max(largest, std::fabs(a));
      }
      const double bound = integer ? 0.5 * largest / kActivationLimit * weights * 1.001 + magnitude * 0x1p-20
                                   : static_cast<double>(columns + 2) * 0x1p-24 * magnitude;
      ASSERT_NEAR(y[m * rows + n], exact, bound) << what << " row " << n;
    }
}

void expect_layers(const DecoderModel& model, const Result& got, const Tensors& weights, bool integer) {
  for (int64_t layer = 0; layer < model.spec.layers; ++layer) {
    const std::string l = std::to_string(layer) + ".";
    const BlockNames names = model.spec.block(layer);
    for (const auto& [in, out, module] : {std::tuple{"attention_norm", "q", names.q},
                                          {"attention_norm", "k", names.k},
                                          {"attention_norm", "v", names.v},
                                          {"attention", "o", names.o},
                                          {"mlp_norm", "gate", names.gate},
                                          {"mlp_norm", "up", names.up},
                                          {"act", "down", names.down}})
      expect_product(got.taps.at(l + in), got.taps.at(l + out).values, weights.at(module + ".weight"),
                     integer, module);
  }
  expect_product(got.taps.at("final_norm"), got.logits, weights.at("lm_head.weight"), false, "lm_head");
}

class Presets : public ::testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(Presets, TheLoadedModelComputesWithTheFormulasWeights) {
  const auto& [source, preset] = GetParam();
  const QuantScheme& scheme = scheme_preset(preset);
  const test::TempDirectory temp;
  const QuantizeResult result =
      quantize_checkpoint(test::two_threads(), test::model_data(source), temp / "q", {.scheme = scheme});
  EXPECT_TRUE(result.bad.empty());
  const Tensors weights = expected_weights(source, scheme);
  const DecoderModel model = load_model(float_context(), temp / "q");
  const Result got = run_model(model, 24);
  expect_layers(model, got, weights, scheme.weights.has_value());

  // And the whole model against the same model with its weights replaced. An op loses 2^-16 of its row's
  // largest value where it rounds activations, sums of up to 96 of these, a dozen ops per block; random
  // weights amplify by the stream's growth, which the logits' own size measures; a factor 8 for the tail.
  const std::string replaced = test::copied_model(source, temp / "replaced");
  test::write_tensors(replaced + "/model.safetensors", weights);
  const Result expected = run_model(load_model(float_context(), replaced), 24);
  double largest = 0, worst = 0;
  for (size_t i = 0; i < got.logits.size(); ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(expected.logits[i])));
    worst = std::max(worst, std::fabs(static_cast<double>(got.logits[i]) - expected.logits[i]));
  }
  EXPECT_LE(worst, 8 * largest * (scheme.weights ? 0x1p-16 : 0x1p-24) * std::sqrt(96.0) * 12 * 4);
}

// The reports are those of the errors that can be counted by hand.
TEST_P(Presets, TheReportsAreRight) {
  const auto& [source, preset] = GetParam();
  const QuantScheme& scheme = scheme_preset(preset);
  if (!scheme.weights) return;
  const test::TempDirectory temp;
  const QuantizeResult result =
      quantize_checkpoint(test::two_threads(), test::model_data(source), temp / "q", {.scheme = scheme});
  const Tensors original = test::read_tensors(test::model_data(source)),
                weights = expected_weights(source, scheme);
  const Tensors written = test::read_tensors(temp / "q");
  ASSERT_EQ(result.layers.size(), 14u);
  double bits = 0, count = 0;
  uint64_t bytes = 0;
  for (const auto& [name, tensor] : written) bytes += tensor.data.size();
  EXPECT_EQ(result.weight_bytes, bytes);
  for (const LayerReport& layer : result.layers) {
    const std::vector<float> a = test::values_of(original.at(layer.name + ".weight")),
                             b = test::values_of(weights.at(layer.name + ".weight"));
    double signal = 0, noise = 0, largest = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      const double error = static_cast<double>(a[i]) - b[i];
      signal += static_cast<double>(a[i]) * a[i];
      noise += error * error;
      largest = std::max(largest, std::fabs(error));
    }
    EXPECT_NEAR(layer.sqnr_db, 10 * std::log10(signal / noise), 1e-6) << layer.name;
    EXPECT_EQ(layer.max_abs_error, largest) << layer.name;
    EXPECT_EQ(layer.weights, static_cast<int64_t>(a.size()));
    count += static_cast<double>(a.size());
    for (const char* suffix : {".weight_packed", ".weight_scale", ".weight_shape"})
      bits += 8.0 * static_cast<double>(written.at(layer.name + suffix).data.size());
  }
  EXPECT_NEAR(result.bits_per_weight, bits / count, 1e-9);
}

INSTANTIATE_TEST_SUITE_P(, Presets,
                         ::testing::Combine(::testing::Values("llama-bf16", "llama", "llama-f16"),
                                            ::testing::Values("int8", "int8-tensor", "int8-g128", "int4-g128",
                                                              "bf16", "f16", "f32")),
                         [](const auto& preset) {
                           std::string name =
                               std::string(std::get<0>(preset.param)) + "_" + std::get<1>(preset.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace codecllm
