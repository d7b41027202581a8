// SPDX-License-Identifier: Apache-2.0
#include "format/scheme.h"

#include "codecllm/error.h"

namespace codecllm {

namespace {
constexpr std::string_view kStrategies[] = {"tensor", "channel", "group", "block", "token"};

QuantArgs integer(int bits, Strategy strategy, int group_size) {
  return {.num_bits = bits, .type = NumberType::integer, .strategy = strategy, .group_size = group_size};
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
#define PRESET(name, weights, activations, plain) {name, weights, activations, DType::plain},
  static const std::vector<QuantScheme> presets = {
#include "format/presets.def"
  };
#undef PRESET
#undef INT
#undef NONE
  return presets;
}

const QuantScheme& scheme_preset(std::string_view name) {
  std::string list;
  for (const QuantScheme& preset : scheme_presets()) {
    if (preset.name == name) return preset;
    list += (list.empty() ? "" : ", ") + preset.name;
  }
  throw Error(ErrorCode::bad_call, "scheme", "no scheme '" + std::string(name) + "'; there are: " + list);
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
  const auto ceil_div = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  switch (args.strategy) {
    case Strategy::tensor: return {1};
    case Strategy::group: return {rows, ceil_div(columns, args.group_size)};
    case Strategy::block: return {ceil_div(rows, args.block[0]), ceil_div(columns, args.block[1])};
    default: return {rows, 1};
  }
}

}  // namespace codecllm
