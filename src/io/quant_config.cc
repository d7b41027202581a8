// SPDX-License-Identifier: Apache-2.0
#include "io/quant_config.h"

#include <algorithm>
#include <array>

#include "codecllm/error.h"
#include "io/header_scanner.h"
#include "io/quant_args.h"

namespace codecllm {

namespace {

constexpr std::array kFormats = {"dense", "int-quantized", "float-quantized", "naive-quantized",
                                 "pack-quantized", "mxfp8-quantized", "coded"};

[[noreturn]] void refuse(ErrorCode code, const std::string& what, const std::string& file) {
  throw Error(code, "quantization_config", what, {.file = file});
}

void check_format(const std::string& format, const std::string& file) {
  if (std::find(kFormats.begin(), kFormats.end(), format) == kFormats.end())
    refuse(ErrorCode::unsupported, "format '" + shown(format) + "' is not read in this version", file);
}

// The list of texts under `key`; absent and null are empty.
std::vector<std::string> texts(const Json& json, const char* key, const std::string& file) {
  std::vector<std::string> list;
  const auto it = json.find(key);
  if (it == json.end() || it->is_null()) return list;
  if (!it->is_array()) refuse(ErrorCode::bad_input, std::string("'") + key + "' is not a list", file);
  for (const Json& item : *it) {
    if (!item.is_string())
      refuse(ErrorCode::bad_input, std::string("'") + key + "' holds something not a text", file);
    list.push_back(item.get<std::string>());
  }
  return list;
}

bool present(const Json& json, const char* key) {
  const auto it = json.find(key);
  return it != json.end() && !it->is_null() && !(it->is_object() && it->empty());
}

}  // namespace

const Json* find_quantization(const Json& config) {
  for (const char* key : {"quantization_config", "compression_config"})
    if (const auto it = config.find(key); it != config.end() && !it->is_null()) return &*it;
  return nullptr;
}

QuantConfig QuantConfig::read(const Json& config, const std::string& file) {
  QuantConfig out;
  const Json* it = find_quantization(config);
  if (it == nullptr) return out;
  if (!it->is_object()) refuse(ErrorCode::bad_input, "not an object", file);
  out.read_header(*it, file);
  const std::string format = json_or<std::string>(*it, "format", "dense", file);
  if (format != "mixed-precision") check_format(format, file);
  const auto groups = it->find("config_groups");
  if (groups != it->end() && !groups->is_null()) {
    if (!groups->is_object()) refuse(ErrorCode::bad_input, "'config_groups' is not an object", file);
    for (const auto& [name, group] : groups->items()) out.read_group(name, group, format, file);
  }
  for (std::string& name : texts(*it, "ignore", file)) out.ignore_.emplace_back(std::move(name), file);
  std::stable_sort(out.targets_.begin(), out.targets_.end(),
                   [](const Target& a, const Target& b) { return a.pattern.text() < b.pattern.text(); });
  for (size_t i = 1; i < out.targets_.size(); ++i)
    if (out.targets_[i].pattern.text() == out.targets_[i - 1].pattern.text())
      refuse(ErrorCode::bad_input, "target '" + shown(out.targets_[i].pattern.text()) + "' stands twice", file);
  return out;
}

void QuantConfig::read_header(const Json& json, const std::string& file) {
  method_ = json_or<std::string>(json, "quant_method", "", file);
  if (method_.empty())
    refuse(ErrorCode::bad_input, "quantization_config has no quant_method; fetch config.json again, or set it to the name of the program that quantized the model", file);
  if (method_ != "compressed-tensors" && method_ != "codecllm")
    refuse(ErrorCode::unsupported,
         "quant_method '" + shown(method_) +
             "' is not read in this version; take the unquantized model, or one " +
             "quantized with compressed-tensors",
         file);
  const int version = method_ == "codecllm" ? json_need<int>(json, "version", file) : kCodecllmQuantVersion;
  if (version < kCodecllmQuantVersion || version > kNewestCodecllmQuantVersion)
    refuse(ErrorCode::unsupported, "written by a newer version of codecllm; update it", file);
  if (const auto it = json.find("sparsity_config"); it != json.end() && it->is_object() && !it->empty())
    if (json_or<std::string>(*it, "format", "dense", file) != "dense")
      refuse(ErrorCode::unsupported, "sparse weights ('sparsity_config') are not read in this version", file);
  if (const auto it = json.find("transform_config"); it != json.end() && it->is_object())
    if (present(*it, "config_groups"))
      refuse(ErrorCode::unsupported, "rotated weights ('transform_config') are not read in this version", file);
}

void QuantConfig::read_group(const std::string& name, const Json& json, const std::string& format,
                             const std::string& file) {
  if (json.is_array())
    refuse(ErrorCode::unsupported,
         "config group '" + shown(name) +
             "' is only the name of a preset, whose meaning differs between versions; "
             "write its targets and weights out",
         file);
  if (!json.is_object())
    refuse(ErrorCode::bad_input, "config group '" + shown(name) + "' is not an object", file);
  const std::string where = "config group '" + shown(name) + "'";
  QuantGroup group{.name = name, .targets = texts(json, "targets", file), .scheme = {.name = "custom"}};
  if (group.targets.empty()) refuse(ErrorCode::bad_input, where + " has no targets", file);
  if (present(json, "output_activations"))
    refuse(ErrorCode::unsupported, where + " has output_activations, which are not read in this version", file);
  if (present(json, "weights")) {
    const StoredQuantArgs stored = read_quant_args(json["weights"], where + " weights", file);
    if (stored.args.dynamic || stored.args.strategy == Strategy::token)
      refuse(ErrorCode::bad_input, where + " has weights with scales found at run time", file);
    group.scheme.weights = stored.args;
    group.group_order = stored.group_order;
  }
  if (present(json, "input_activations"))
    group.scheme.activations =
        read_quant_args(json["input_activations"], where + " input_activations", file).args;
  group.scheme.name = group.scheme.weights ? scheme_name(group.scheme) : "bf16";
  group.format = json_or<std::string>(json, "format", format, file);
  check_format(group.format, file);
  for (const std::string& target : group.targets)
    targets_.push_back({NamePattern(target, file), groups_.size()});
  groups_.push_back(std::move(group));
}

const QuantGroup* QuantConfig::group_for(std::string_view module_name) const {
  for (const NamePattern& pattern : ignore_)
    if (pattern.match(module_name) != NamePattern::Match::none) return nullptr;
  const Target* best = nullptr;
  NamePattern::Match best_match = NamePattern::Match::none;
  for (const Target& target : targets_) {
    const NamePattern::Match match = target.pattern.match(module_name);
    if (match <= best_match) continue;
    best = &target;
    best_match = match;
  }
  return best == nullptr ? nullptr : &groups_[best->group];
}

std::optional<QuantScheme> QuantConfig::scheme_for(std::string_view module_name) const {
  const QuantGroup* group = group_for(module_name);
  if (group == nullptr || !group->scheme.weights) return std::nullopt;
  return group->scheme;
}

}  // namespace codecllm
