// SPDX-License-Identifier: Apache-2.0
#include "io/gguf_metadata.h"

namespace codecllm {

namespace {

[[noreturn]] void not_in_gguf(const std::string& what, const std::string& file) {
  throw Error(ErrorCode::unsupported, "gguf", what, {.file = file});
}

// Hugging Face's rope_scaling or rope_parameters.
void put_scaling(OrderedJson& out, const std::string& prefix, const Json& config, const std::string& file) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const auto it = config.find(key);
    if (it == config.end() || !it->is_object()) continue;
    if (const auto base = json_find<double>(*it, "rope_theta", file)) out[prefix + "rope.freq_base"] = *base;
    const auto type = json_find<std::string>(*it, "rope_type", file).value_or(json_or<std::string>(*it, "type", "default", file));
    if (type == "linear" || type == "yarn") {
      out[prefix + "rope.scaling.type"] = type;
      out[prefix + "rope.scaling.factor"] = json_or<double>(*it, "factor", 1.0, file);
      if (const auto n = json_find<int64_t>(*it, "original_max_position_embeddings", file))
        out[prefix + "rope.scaling.original_context_length"] = *n;
    } else if (type != "default" && type != "llama3" && type != "longrope") {  // those are the tensor rope_freqs
      not_in_gguf("rope scaling '" + type + "' cannot be told in GGUF", file);
    }
  }
}

}  // namespace

OrderedJson gguf_model_metadata(const Json& config, const std::string& file) {
  const auto classes = config.find("architectures");
  const GgufArch* arch = nullptr;
  if (classes != config.end() && classes->is_array() && !classes->empty() && (*classes)[0].is_string())
    arch = gguf_arch_of_class((*classes)[0].get<std::string>());
  if (arch == nullptr) not_in_gguf("GGUF is written for Llama, Mistral, Qwen2 and Qwen3 models in this version", file);
  const std::string prefix = std::string(arch->gguf) + ".";
  OrderedJson out;
  out["general.architecture"] = arch->gguf;
  out["general.type"] = "model";
  out["general.quantization_version"] = 2;
  const auto whole = [&](const char* from, const std::string& to) {
    if (const auto value = json_find<int64_t>(config, from, file)) out[prefix + to] = *value;
  };
  whole("max_position_embeddings", "context_length");
  whole("hidden_size", "embedding_length");
  whole("num_hidden_layers", "block_count");
  whole("intermediate_size", "feed_forward_length");
  whole("num_attention_heads", "attention.head_count");
  whole("num_key_value_heads", "attention.head_count_kv");
  whole("vocab_size", "vocab_size");
  const auto heads = json_need<int64_t>(config, "num_attention_heads", file);
  const auto head_dim = json_or<int64_t>(config, "head_dim", json_need<int64_t>(config, "hidden_size", file) / std::max<int64_t>(1, heads), file);
  for (const char* key : {"attention.key_length", "attention.value_length", "rope.dimension_count"}) out[prefix + key] = head_dim;
  out[prefix + "attention.layer_norm_rms_epsilon"] = json_or<double>(config, "rms_norm_eps", 1e-6, file);
  out[prefix + "rope.freq_base"] = json_or<double>(config, "rope_theta", 10000.0, file);
  put_scaling(out, prefix, config, file);
  if (const auto window = json_find<int64_t>(config, "sliding_window", file); window && arch->neighbours)
    out[prefix + "attention.sliding_window"] = *window;
  return out;
}

}  // namespace codecllm
