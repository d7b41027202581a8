// SPDX-License-Identifier: Apache-2.0
#include "format/scheme.h"

#include "codecllm/error.h"
#include "format/coded_scheme.h"
#include "format/grid_map.h"

namespace codecllm {

namespace {
constexpr std::string_view kStrategies[] = {"tensor", "channel", "group", "block", "token"};

QuantArgs integer(int bits, Strategy strategy, int group_size) {
  return {.num_bits = bits, .type = NumberType::integer, .strategy = strategy, .group_size = group_size};
}

QuantArgs float8(NumberType type, Strategy strategy) {
  QuantArgs args = {.num_bits = 8, .type = type, .strategy = strategy};
  if (strategy == Strategy::block) args.block = {128, 128};
  return args;
}

// Activations, their scales found at run time.
QuantArgs at_run_time(NumberType type, Strategy strategy) {
  QuantArgs args = {.num_bits = 8, .type = type, .strategy = strategy, .dynamic = true};
  if (strategy == Strategy::group) args.group_size = 128;
  return args;
}

// Activations, one scale for all that a layer ever reads, from calibration.
QuantArgs calibrated(NumberType type) { return {.num_bits = 8, .type = type, .strategy = Strategy::tensor}; }

QuantArgs with_zeros(QuantArgs args) {
  args.symmetric = false;
  return args;
}

// INT8 activations at run time but for the features that reach the threshold.
QuantArgs but_outliers(float threshold) {
  QuantArgs args = at_run_time(NumberType::integer, Strategy::token);
  args.outliers = OutlierArgs{.threshold = threshold};
  return args;
}
}  // namespace

std::string_view strategy_name(Strategy strategy) { return kStrategies[static_cast<size_t>(strategy)]; }

std::optional<Strategy> strategy_from_name(std::string_view name) {
  for (size_t i = 0; i < std::size(kStrategies); ++i)
    if (kStrategies[i] == name) return static_cast<Strategy>(i);
  return std::nullopt;
}

const std::vector<QuantScheme>& scheme_presets() {
#define NONE std::nullopt
#define INT(bits, strategy, group) integer(bits, Strategy::strategy, group)
#define FLOAT(type, strategy) float8(NumberType::type, Strategy::strategy)
#define INPUTS(type, strategy) at_run_time(NumberType::type, Strategy::strategy)
#define CALIBRATED(type) calibrated(NumberType::type)
#define BUT_OUTLIERS(threshold) but_outliers(threshold)
#define WITH_ZEROS(inputs) with_zeros(inputs)
#define PRESET(name, weights, activations, plain) {name, weights, activations, DType::plain},
  static const std::vector<QuantScheme> presets = {
#include "format/presets.def"
  };
#undef PRESET
#undef WITH_ZEROS
#undef BUT_OUTLIERS
#undef CALIBRATED
#undef INPUTS
#undef FLOAT
#undef INT
#undef NONE
  return presets;
}

namespace {

// intB[-tensor|-gN][-asym], weights only; nothing for other words.
std::optional<QuantScheme> integer_scheme(std::string_view name) {
  std::string_view rest = name;
  const auto take = [&rest](std::string_view word) {
    const bool found = rest.starts_with(word);
    if (found) rest.remove_prefix(word.size());
    return found;
  };
  if (!take("int") || rest.empty() || rest[0] < '2' || rest[0] > '8') return std::nullopt;
  QuantArgs args = integer(rest[0] - '0', Strategy::channel, 0);
  rest.remove_prefix(1);
  if (take("-tensor")) {
    args.strategy = Strategy::tensor;
  } else {
    for (int size : {32, 64, 128, 256})
      if (take("-g" + std::to_string(size))) args.strategy = Strategy::group, args.group_size = size;
  }
  args.symmetric = !take("-asym");
  if (!rest.empty()) return std::nullopt;
  return QuantScheme{.name = std::string(name), .weights = args};
}

}  // namespace

std::string scheme_name(const QuantScheme& scheme) {
  std::optional<QuantArgs> inputs = scheme.activations;
  if (inputs && inputs->outliers) inputs->outliers->stored = false;
  for (const QuantScheme& preset : scheme_presets())
    if (preset.weights && preset.weights == scheme.weights && preset.activations == inputs) return preset.name;
  if (!scheme.weights || scheme.activations || scheme.weights->type != NumberType::integer) return "custom";
  std::string name = "int" + std::to_string(scheme.weights->num_bits);
  if (scheme.weights->strategy == Strategy::tensor) name += "-tensor";
  if (scheme.weights->strategy == Strategy::group) name += "-g" + std::to_string(scheme.weights->group_size);
  if (!scheme.weights->symmetric) name += "-asym";
  const auto known = integer_scheme(name);
  return known && known->weights == scheme.weights ? name : "custom";
}

QuantScheme scheme_preset(std::string_view name) {
  std::string list;
  for (const QuantScheme& preset : scheme_presets()) {
    if (preset.name == name) return preset;
    list += (list.empty() ? "" : ", ") + preset.name;
  }
  if (auto scheme = integer_scheme(name)) return *std::move(scheme);
  if (const auto coded = coded_scheme(std::string(name))) {
    if (coded->lossless) return {std::string(name), std::nullopt};
    return {std::string(name), scheme_preset(coded->float8 ? "fp8-channel" : "int8").weights};
  }
  throw Error(ErrorCode::bad_call, "scheme",
              "no scheme '" + std::string(name) + "'; there are: " + list +
                  ", lossless, int8-coded, fp8-coded, coded-B (such as coded-4.5), and intB[-tensor|-gN][-asym]");
}

QuantScheme fit_scheme(const QuantScheme& scheme, int64_t columns) {
  QuantScheme fitted = scheme;
  if (!fitted.weights || fitted.weights->strategy != Strategy::group) return fitted;
  QuantArgs& args = *fitted.weights;
  if (columns % args.group_size == 0) return fitted;
  while (args.group_size >= 32 && columns % args.group_size != 0) args.group_size /= 2;
  if (args.group_size < 32) {
    args.strategy = Strategy::channel;
    args.group_size = 0;
  }
  return fitted;
}

std::vector<int64_t> scale_shape(const QuantArgs& args, int64_t rows, int64_t columns) {
  if (args.strategy == Strategy::tensor) return {1};
  const GridMap map(args, rows, columns);
  return {map.count / map.across, map.across};
}

}  // namespace codecllm
