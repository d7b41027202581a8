// SPDX-License-Identifier: Apache-2.0
#include "quant/provenance.h"

#include "base/file.h"

namespace codecllm {

static constexpr int kProvenanceVersion = 1;

// What was done to a layer, by name.
static std::string algorithm_done(const QuantizeJob& job, const TensorJob& tensor) {
  const std::string& name = job.steps[tensor.step].algorithm.name;
  return tensor.unsmoothed ? without_smoothing(name) : name;
}

static OrderedJson algorithm_json(const QuantizeJob& job, size_t step) {
  const AlgorithmOptions& options = job.steps[step].algorithm;
  // Where none of its layers could be smoothed, that is no part of it.
  bool smoothed = false, any = false;
  for (const TensorJob& tensor : job.tensors)
    if (tensor.kind == TensorJob::Kind::quantize && tensor.step == step) any = true, smoothed = smoothed || !tensor.unsmoothed;
  const std::string name = any && !smoothed ? without_smoothing(options.name) : options.name;
  OrderedJson json = {{"algorithm", name}, {"clip", options.clip}};
  if (name.find("gptq") != std::string::npos) json.update({{"damping", options.damping}, {"act_order", options.act_order}});
  if (name.find("smoothquant") != std::string::npos) json["alpha"] = options.alpha;
  return json;
}

std::string provenance_text(const QuantizeJob& job, const SmoothingFactors& factors) {
  OrderedJson json = {{"version", kProvenanceVersion}};
  if (job.steps.size() == 1) {
    json.update(algorithm_json(job, 0));
  } else {
    json["algorithm"] = "recipe";
    for (size_t step = 0; step < job.steps.size(); ++step) {
      json["steps"].push_back(algorithm_json(job, step));
      json["steps"].back()["scheme"] = job.steps[step].scheme.name;
    }
  }
  const CalibrationOptions& calibration = job.steps.front().algorithm.calibration;
  if (!calibration.text.empty()) json.update({{"samples", calibration.samples}, {"observer", calibration.observer.name}});
  json["nearest"] = OrderedJson::array();
  for (const TensorJob& tensor : job.tensors) {
    if (tensor.kind != TensorJob::Kind::quantize) continue;
    if (algorithm_done(job, tensor) == "rtn" && !job.steps[tensor.step].algorithm.clip) json["nearest"].push_back(tensor.module);
    if (tensor.unsmoothed) json["unsmoothed"].push_back(tensor.module);
  }
  json["smoothing"] = OrderedJson::object();
  for (const auto& [name, values] : factors) json["smoothing"][name] = values;
  return dump_json(json) + "\n";
}

Provenance read_provenance(const std::string& directory) {
  const std::string path = directory + "/" + kProvenanceFile;
  Provenance out;
  if (!file_exists(path)) return out;
  const Json json = read_json_file(path);
  if (!json.is_object() || json_need<int>(json, "version", path) != kProvenanceVersion)
    throw Error(ErrorCode::unsupported, "verify", "version is not " + std::to_string(kProvenanceVersion), {.file = path});
  out.algorithm = json_need<std::string>(json, "algorithm", path);
  out.known = true;
  out.rounded_again = json_or<bool>(json, "rounded_again", false, path);
  if (const auto nearest = json.find("nearest"); nearest != json.end()) {
    if (!nearest->is_array()) throw_json_type("nearest", "a list of modules", *nearest, path);
    for (const Json& module : *nearest) {
      if (!module.is_string()) throw_json_type("nearest", "a list of modules", module, path);
      out.nearest.insert(module.get<std::string>());
    }
  }
  const auto smoothing = json.find("smoothing");
  if (smoothing == json.end()) return out;
  if (!smoothing->is_object()) throw_json_type("smoothing", "an object", *smoothing, path);
  for (const auto& [name, values] : smoothing->items()) {
    if (!values.is_array()) throw_json_type("smoothing", "lists of numbers", values, path);
    for (const Json& value : values) {
      if (!value.is_number()) throw_json_type("smoothing", "lists of numbers", value, path);
      out.factors[name].push_back(value.get<float>());
    }
  }
  return out;
}

std::string passed_provenance(const std::string& directory, bool copied, bool rounded_again) {
  if (!read_provenance(directory).known) return "";
  OrderedJson json = read_ordered_json_file(directory + "/" + kProvenanceFile);
  if (!copied) json["nearest"] = OrderedJson::array();
  if (rounded_again) json["rounded_again"] = true;
  return dump_json(json) + "\n";
}

}  // namespace codecllm
