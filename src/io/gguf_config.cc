// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include "format/plain_float.h"
#include "io/gguf_model.h"
#include "io/gguf_names.h"
#include "io/header_scanner.h"

namespace codecllm {

namespace {

// A 32-bit number as the decimal that people write: 1e-05, not 9.999999747378752e-06.
double decimal(double value) { return std::stod(fmt::format("{}", static_cast<float>(value))); }

class ConfigMaker {
 public:
  explicit ConfigMaker(const GgufFile& file) : file_(file), metadata_(file.metadata()), path_(file.file().path()) {}

  Json make() {
    const auto name = json_need<std::string>(metadata_, "general.architecture", path_);
    const GgufArch* arch = gguf_arch(name);
    if (arch == nullptr)
      throw Error(ErrorCode::unsupported, "gguf",
                  "the architecture '" + shown(name) + "' is not in this version; there are: " + gguf_arch_list(),
                  {.file = path_});
    prefix_ = name + ".";
    if (json_or<int64_t>(metadata_, key("expert_count").c_str(), 0, path_) > 0)
      throw Error(ErrorCode::unsupported, "gguf", "mixtures of experts are not read from GGUF in this version; take the " +
                                                      std::string("model's .safetensors files"), {.file = path_});
    config_["architectures"] = Json::array({arch->hf_class});
    config_["model_type"] = arch->model_type;
    sizes();
    window(*arch);
    rope();
    tokens();
    return std::move(config_);
  }

 private:
  std::string key(const char* name) const { return prefix_ + name; }

  template <class T>
  void copy(const char* from, const char* to) {
    if (const auto value = json_find<T>(metadata_, key(from).c_str(), path_)) config_[to] = *value;
  }

  void sizes() {
    const auto hidden = json_need<int64_t>(metadata_, key("embedding_length").c_str(), path_);
    const auto heads = json_need<int64_t>(metadata_, key("attention.head_count").c_str(), path_);
    config_["hidden_size"] = hidden;
    config_["num_attention_heads"] = heads;
    config_["num_hidden_layers"] = json_need<int64_t>(metadata_, key("block_count").c_str(), path_);
    config_["intermediate_size"] = json_need<int64_t>(metadata_, key("feed_forward_length").c_str(), path_);
    copy<int64_t>("attention.head_count_kv", "num_key_value_heads");
    copy<int64_t>("context_length", "max_position_embeddings");
    const auto head_dim = json_or<int64_t>(metadata_, key("attention.key_length").c_str(), heads > 0 ? hidden / heads : 0, path_);
    if (head_dim < 2 || head_dim % 2 != 0)
      throw Error(ErrorCode::bad_input, "gguf", "heads of " + std::to_string(head_dim) + " values, expected an even number",
                  {.file = path_});
    if (json_or<int64_t>(metadata_, key("attention.value_length").c_str(), head_dim, path_) != head_dim ||
        json_or<int64_t>(metadata_, key("rope.dimension_count").c_str(), head_dim, path_) != head_dim)
      throw Error(ErrorCode::unsupported, "gguf", "keys, values and rotation of different lengths are not in this version",
                  {.file = path_});
    config_["head_dim"] = head_dim;
    config_["rms_norm_eps"] = decimal(json_or<double>(metadata_, key("attention.layer_norm_rms_epsilon").c_str(), 1e-5, path_));
    config_["hidden_act"] = "silu";
    config_["tie_word_embeddings"] = file_.find("output.weight") == nullptr;
    config_["attention_bias"] = file_.find("blk.0.attn_q.bias") != nullptr;
    config_["mlp_bias"] = file_.find("blk.0.ffn_up.bias") != nullptr;
    const GgufTensor* embedding = file_.find("token_embd.weight");
    if (embedding == nullptr || embedding->shape.size() != 2)
      throw Error(ErrorCode::bad_input, "gguf", "no tensor token_embd.weight of two dimensions; is this a whole model?",
                  {.file = path_});
    config_["vocab_size"] = embedding->shape[0];
    config_["torch_dtype"] = embedding->type == GgmlType::bf16  ? "bfloat16"
                             : embedding->type == GgmlType::f16 ? "float16"
                                                                : "float32";
  }

  void window(const GgufArch& arch) {
    const auto window = json_or<int64_t>(metadata_, key("attention.sliding_window").c_str(), 0, path_);
    if (window == 0 || !arch.neighbours) return;
    config_["architectures"] = Json::array({"MistralForCausalLM"});
    config_["model_type"] = "mistral";
    config_["sliding_window"] = window;
  }

  void rope() {
    config_["rope_theta"] = decimal(json_or<double>(metadata_, key("rope.freq_base").c_str(), 10000.0, path_));
    const auto type = json_or<std::string>(metadata_, key("rope.scaling.type").c_str(), "none", path_);
    Json scaling = Json::object();
    if (type != "none") {
      scaling["rope_type"] = type;
      scaling["factor"] = decimal(json_or<double>(metadata_, key("rope.scaling.factor").c_str(), 1.0, path_));
      if (const auto n = json_find<int64_t>(metadata_, key("rope.scaling.original_context_length").c_str(), path_))
        scaling["original_max_position_embeddings"] = *n;
      if (const auto a = json_find<double>(metadata_, key("rope.scaling.attn_factor").c_str(), path_))
        scaling["attention_factor"] = decimal(*a);
    }
    if (const GgufTensor* divisors = file_.find("rope_freqs.weight")) divide(*divisors, scaling);
    if (!scaling.empty()) config_["rope_scaling"] = scaling;
  }

  // Llama 3 files hold what each frequency is divided by, which Hugging Face can say as "longrope".
  void divide(const GgufTensor& divisors, Json& scaling) const {
    const int64_t n = config_["head_dim"].get<int64_t>() / 2;
    if (divisors.type != GgmlType::f32 || divisors.elements() != n || !scaling.empty())
      throw Error(ErrorCode::bad_input, "gguf", "expected " + std::to_string(n) + " numbers of type F32 and no other scaling",
                  {.file = path_, .tensor = divisors.name});
    Json list = Json::array();
    for (int64_t i = 0; i < n; ++i) list.push_back(decimal(load_float(divisors.data.data(), i, DType::f32)));
    scaling = {{"rope_type", "longrope"}, {"short_factor", list}, {"long_factor", list}, {"factor", 1.0}, {"attention_factor", 1.0}};
    if (config_.contains("max_position_embeddings"))
      scaling["original_max_position_embeddings"] = config_["max_position_embeddings"];
  }

  void tokens() {
    if (const auto id = json_find<int64_t>(metadata_, "tokenizer.ggml.bos_token_id", path_)) config_["bos_token_id"] = *id;
    Json eos = Json::array();
    for (const char* name : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"})
      if (const auto id = json_find<int64_t>(metadata_, name, path_))
        if (std::find(eos.begin(), eos.end(), *id) == eos.end()) eos.push_back(*id);
    if (eos.size() == 1) config_["eos_token_id"] = eos[0];
    if (eos.size() > 1) config_["eos_token_id"] = eos;
  }

  const GgufFile& file_;
  const Json& metadata_;
  const std::string& path_;
  std::string prefix_;
  Json config_ = Json::object();
};

}  // namespace

Json gguf_config(const GgufFile& file) { return ConfigMaker(file).make(); }

}  // namespace codecllm
