// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "codecllm/error.h"
#include "io/quant_args.h"
#include "io/quant_config.h"

namespace codecllm {

namespace {

// "version" for compressed-tensors: informative, readers do not look at it.
constexpr const char* kCompressedTensorsVersion = "0.11.0";

// compressed-tensors' own choice of format for a scheme.
std::string format_of(const QuantScheme& scheme) {
  if (!scheme.weights) return "dense";
  const bool integer = scheme.weights->type == NumberType::integer;
  // naive-quantized, which compressed-tensors chooses for weight-only floats, has the same tensors and fewer readers.
  if (!integer) return "float-quantized";
  const bool integer_inputs = scheme.activations && scheme.activations->type == NumberType::integer;
  return integer_inputs ? "int-quantized" : "pack-quantized";
}

std::optional<std::string> refused_packed(const QuantArgs& weights) {
  const std::string who = "vLLM loads weight-only integers ";
  if (weights.num_bits != 4 && weights.num_bits != 8)
    return who + "of 4 or 8 bits, not of " + std::to_string(weights.num_bits);
  if (weights.strategy != Strategy::channel && weights.strategy != Strategy::group)
    return who + "with a scale per channel or group, not per " + std::string(strategy_name(weights.strategy));
  const int size = weights.group_size;
  if (weights.strategy == Strategy::group && size != 32 && size != 64 && size != 128)
    return who + "in groups of 32, 64 or 128, not of " + std::to_string(size);
  return std::nullopt;
}

std::optional<std::string> refused_integer(const QuantArgs& weights, const QuantArgs& inputs) {
  const std::string who = "vLLM loads integer weights with quantized activations ";
  if (weights.num_bits != 8 || inputs.num_bits != 8 || inputs.type != NumberType::integer)
    return who + "only where both are 8-bit integers";
  if (!weights.symmetric || (weights.strategy != Strategy::tensor && weights.strategy != Strategy::channel))
    return who + "only where the weights are symmetric, with a scale per tensor or channel";
  const bool per_token = inputs.dynamic && inputs.strategy == Strategy::token;
  const bool fixed = !inputs.dynamic && inputs.strategy == Strategy::tensor;
  if (!per_token && !fixed)
    return who + "only where the activations are dynamic per token, or static per tensor";
  return std::nullopt;
}

std::optional<std::string> refused_float(const QuantArgs& weights, const std::optional<QuantArgs>& inputs) {
  const std::string who = "vLLM loads 8-bit float weights ";
  const bool plain = weights.strategy == Strategy::tensor || weights.strategy == Strategy::channel;
  const bool block = weights.strategy == Strategy::block && weights.block == std::array<int, 2>{128, 128};
  if (weights.num_bits != 8)
    return "vLLM loads float weights of 8 bits, not of " + std::to_string(weights.num_bits);
  if (!weights.symmetric || (!plain && !block))
    return who + "only where they are symmetric, with a scale per tensor, channel or block of 128x128";
  if (!inputs) return std::nullopt;
  if (inputs->type != NumberType::floating || inputs->num_bits != 8)
    return who + "only with activations that are 8-bit floats or not quantized";
  if (!inputs->dynamic && (inputs->strategy != Strategy::tensor || !inputs->symmetric))
    return who + "only with activations that are dynamic, or static and symmetric per tensor";
  if (block && !(inputs->dynamic && inputs->strategy == Strategy::group && inputs->group_size == 128))
    return who + "in blocks only with activations that are dynamic in groups of 128";
  return std::nullopt;
}

// Whether compressed-tensors has no words for it; others would read its words and compute something else.
bool is_codecllms_own(const QuantScheme& scheme) {
  return (scheme.weights && scheme.weights->type == NumberType::float_e5m2) || (scheme.activations && scheme.activations->outliers);
}

}  // namespace

bool stores_bytes(const QuantScheme& scheme) {
  const std::string format = format_of(scheme);
  return format != "pack-quantized" && format != "dense";
}

std::optional<std::string> refused_by(const QuantScheme& scheme) {
  if (!scheme.weights) return std::nullopt;
  if (scheme.weights->type != NumberType::integer) return refused_float(*scheme.weights, scheme.activations);
  if (scheme.activations) return refused_integer(*scheme.weights, *scheme.activations);
  return refused_packed(*scheme.weights);
}

int codecllm_quant_version(const std::vector<QuantGroup>& groups) {
  const bool columns = std::any_of(groups.begin(), groups.end(), [](const QuantGroup& group) { return group.scheme.activations && group.scheme.activations->outliers; });
  return columns ? kNewestCodecllmQuantVersion : kCodecllmQuantVersion;
}

OrderedJson make_quant_config(const std::vector<QuantGroup>& groups, const std::vector<std::string>& ignore) {
  if (groups.empty())
    throw Error(ErrorCode::bad_call, "quantization_config",
                "no group; leave the config out where nothing is quantized");
  bool standard = true, mixed = false;
  std::string format;
  OrderedJson config_groups = OrderedJson::object();
  for (const QuantGroup& group : groups) {
    const std::string own = group.format.empty() ? format_of(group.scheme) : group.format;
    mixed |= !format.empty() && own != format;
    format = own;
    standard &= !is_codecllms_own(group.scheme);
  }
  for (const QuantGroup& group : groups) {
    const auto args = [](const std::optional<QuantArgs>& a) {
      return a ? write_quant_args(*a) : OrderedJson();
    };
    OrderedJson json;
    json["targets"] = group.targets;
    json["weights"] = args(group.scheme.weights);
    json["input_activations"] = args(group.scheme.activations);
    json["output_activations"] = nullptr;
    // Older readers do not know the key, and need it only where groups differ.
    if (mixed) json["format"] = group.format.empty() ? format_of(group.scheme) : group.format;
    if (config_groups.contains(group.name))
      throw Error(ErrorCode::bad_call, "quantization_config", "two groups named '" + group.name + "'");
    config_groups[group.name] = std::move(json);
  }
  OrderedJson out;
  out["quant_method"] = standard ? "compressed-tensors" : "codecllm";
  out["version"] = standard ? OrderedJson(kCompressedTensorsVersion) : OrderedJson(codecllm_quant_version(groups));
  out["format"] = mixed ? "mixed-precision" : format;
  out["quantization_status"] = "compressed";
  out["global_compression_ratio"] = nullptr;
  out["kv_cache_scheme"] = nullptr;
  out["config_groups"] = std::move(config_groups);
  out["ignore"] = ignore;
  return out;
}

}  // namespace codecllm
