// SPDX-License-Identifier: Apache-2.0
// `quantization_config` of config.json: which scheme every linear module has. Read and written in
// compressed-tensors' form; schemes it has no reader for are written in the same form as quant_method
// "codecllm".
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "format/scheme.h"
#include "io/name_pattern.h"

namespace codecllm {

// "version" of quant_method "codecllm": rises when older readers would misread what is written. Readers take all up to
// kNewestCodecllmQuantVersion; 2 has columns of outliers.
inline constexpr int kCodecllmQuantVersion = 1, kNewestCodecllmQuantVersion = 2;

// What config.json says of quantization (older files call it compression_config); null where nothing.
const Json* find_quantization(const Json& config);

struct QuantGroup {
  std::string name = "group_0";
  std::vector<std::string> targets = {"Linear"};
  QuantScheme scheme = {};
  std::string format =
      {};  // how the weights are stored ("pack-quantized"); empty, when writing: what fits the scheme
  bool group_order = false;  // read only: weight_g_idx tells the group of every column
};

class QuantConfig {
 public:
  QuantConfig() = default;  // nothing is quantized

  // Reads config.json's `quantization_config` (older files: `compression_config`). Throws Error(unsupported)
  // for methods and formats this version does not read, Error(bad_input) for what is malformed.
  static QuantConfig read(const Json& config, const std::string& file);

  const std::string& method() const { return method_; }  // empty where nothing is quantized
  const std::vector<QuantGroup>& groups() const { return groups_; }

  // For the name of a linear module ("model.layers.0.mlp.up_proj"). `ignore` wins; then an exact name, then
  // regular expressions in alphabetical order, as compressed-tensors does, then the class "Linear".
  const QuantGroup* group_for(std::string_view module_name) const;
  std::optional<QuantScheme> scheme_for(std::string_view module_name) const;

 private:
  struct Target {
    NamePattern pattern;
    size_t group;
  };

  void read_header(const Json& json, const std::string& file);
  void read_group(const std::string& name, const Json& json, const std::string& format,
                  const std::string& file);

  std::string method_;
  std::vector<QuantGroup> groups_;
  std::vector<Target> targets_;  // sorted by text
  std::vector<NamePattern> ignore_;
};

// The "version" that quant_method "codecllm" needs to tell these groups.
int codecllm_quant_version(const std::vector<QuantGroup>& groups);

// The value for `quantization_config`.
OrderedJson make_quant_config(const std::vector<QuantGroup>& groups, const std::vector<std::string>& ignore);

// Whether its codes are stored a byte each, as `weight`; else in words, as `weight_packed`.
bool stores_bytes(const QuantScheme& scheme);

// Who will not load a compressed-tensors checkpoint with this scheme, and why; nothing where compressed-tensors and vLLM do.
std::optional<std::string> refused_by(const QuantScheme& scheme);

}  // namespace codecllm
