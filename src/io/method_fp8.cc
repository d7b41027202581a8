// SPDX-License-Identifier: Apache-2.0
// 8-bit floats as DeepSeek and transformers ("weight_scale_inv", blocks) and as vLLM (one scale per tensor) store them.
#include "io/header_scanner.h"
#include "io/quant_method.h"

namespace codecllm::quant_method {

namespace {

QuantArgs float8(Strategy strategy) { return {.num_bits = 8, .type = NumberType::floating, .strategy = strategy}; }

// The block's [rows, columns], where scales are per block.
std::optional<std::array<int, 2>> block_of(const Json& settings, const std::string& file) {
  const auto it = settings.find("weight_block_size");
  if (it == settings.end() || it->is_null()) return std::nullopt;
  if (!it->is_array() || it->size() != 2 || !json_is<int>((*it)[0]) || !json_is<int>((*it)[1]) || (*it)[0].get<int>() < 1 || (*it)[1].get<int>() < 1)
    throw_json_type("weight_block_size", "[rows, columns]", *it, file);
  return std::array<int, 2>{(*it)[0].get<int>(), (*it)[1].get<int>()};
}

}  // namespace

void fp8(const Checkpoint& checkpoint, const Json& settings, Translation& out) {
  const std::string& file = checkpoint.config_path();
  const auto block = block_of(settings, file);
  const auto activations = json_or<std::string>(settings, "activation_scheme", "dynamic", file);
  if (activations != "dynamic" && activations != "static")
    throw Error(ErrorCode::unsupported, "fp8", "activation_scheme '" + shown(activations) + "', expected dynamic or static", {.file = file});
  QuantScheme scheme = {.name = "custom", .weights = float8(block ? Strategy::block : Strategy::tensor), .activations = float8(Strategy::tensor)};
  if (block) {
    scheme.weights->block = *block;
    scheme.activations->strategy = Strategy::group;
    scheme.activations->group_size = (*block)[1];
  } else if (activations == "dynamic") {
    scheme.activations->strategy = Strategy::token;
  }
  scheme.activations->dynamic = block.has_value() || activations == "dynamic";

  SchemeList schemes;
  for (const TensorInfo* tensor : checkpoint.tensors()) {
    TensorInfo renamed = *tensor;
    // Despite its name the scale is what the weight is multiplied with.
    if (renamed.name.ends_with(".weight_scale_inv")) renamed.name.resize(renamed.name.size() - 4);
    if (tensor->dtype == DType::f8_e4m3 && tensor->name.ends_with(".weight"))
      schemes.add(tensor->name.substr(0, tensor->name.size() - 7), scheme, "float-quantized");
    out.pass(std::move(renamed), checkpoint.mapped_file_of(*tensor));
  }
  out.config["quantization_config"] = schemes.config();
}

}  // namespace codecllm::quant_method
