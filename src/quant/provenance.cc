// SPDX-License-Identifier: Apache-2.0
#include "quant/provenance.h"

#include "base/file.h"

namespace codecllm {

static constexpr int kProvenanceVersion = 1;

std::string provenance_text(const AlgorithmOptions& options, const SmoothingFactors& factors) {
  OrderedJson json = {{"version", kProvenanceVersion}, {"algorithm", options.name}, {"clip", options.clip}};
  if (options.name == "gptq") json.update({{"damping", options.damping}, {"act_order", options.act_order}});
  if (options.name == "smoothquant") json["alpha"] = options.alpha;
  if (!options.calibration.text.empty()) json["samples"] = options.calibration.samples;
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
  out.nearest = false;
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

}  // namespace codecllm
