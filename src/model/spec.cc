// SPDX-License-Identifier: Apache-2.0
#include "model/spec.h"

#include "model/arch/family.h"

namespace codecllm {

namespace {

struct Family {
  const char* architecture;
  ModelSpec (*read)(const Json& config, const std::string& file);
};

constexpr Family kFamilies[] = {
#define FAMILY(architecture, function) {architecture, family::function},
#include "model/arch/family.def"
#undef FAMILY
};

[[noreturn]] void fail(const std::string& what, const std::string& file) {
  throw Error(ErrorCode::bad_input, "config", what, {.file = file});
}

void check_range(const char* key, int64_t value, int64_t limit, const std::string& file) {
  if (value < 1 || value > limit)
    fail(std::string(key) + " is " + std::to_string(value) + ", expected 1 to " + std::to_string(limit), file);
}

void check(const ModelSpec& spec, const std::string& file) {
  check_range("hidden_size", spec.hidden, 1 << 17, file);
  check_range("intermediate_size", spec.intermediate, 1 << 20, file);
  check_range("num_hidden_layers", spec.layers, 4096, file);
  check_range("num_attention_heads", spec.heads, 4096, file);
  check_range("num_key_value_heads", spec.kv_heads, spec.heads, file);
  check_range("head_dim", spec.head_dim, 4096, file);
  check_range("vocab_size", spec.vocab, 1 << 24, file);
  check_range("max_position_embeddings", spec.max_positions, 1 << 28, file);
  if (spec.heads % spec.kv_heads != 0)
    fail("num_attention_heads " + std::to_string(spec.heads) + " is no multiple of num_key_value_heads " +
             std::to_string(spec.kv_heads), file);
  if (spec.rope.rotary % 2 != 0 || spec.rope.rotary > spec.head_dim)
    fail("head_dim " + std::to_string(spec.head_dim) + " cannot be rotated in pairs", file);
  if (spec.sliding_window < 0) fail("sliding_window is negative", file);
  if (!(spec.norm_eps >= 0 && spec.norm_eps <= 1)) fail("the norm's epsilon is not between 0 and 1", file);
}

// eos_token_id is a number or a list of them.
void add_eos(const Json& config, std::vector<int32_t>& eos, const std::string& file) {
  if (!config.is_object()) return;
  const auto it = config.find("eos_token_id");
  if (it == config.end() || it->is_null()) return;
  const Json list = it->is_array() ? *it : Json::array({*it});
  for (const Json& id : list) {
    if (!json_is<int32_t>(id)) throw_json_type("eos_token_id", "a token id or a list of them", *it, file);
    eos.push_back(id.get<int32_t>());
  }
}

std::string architecture_of(const Json& config, const std::string& file) {
  const auto it = config.find("architectures");
  if (it == config.end() || !it->is_array() || it->empty() || !(*it)[0].is_string())
    fail("key 'architectures' must be a list that begins with the model's class name", file);
  return (*it)[0].get<std::string>();
}

}  // namespace

ModelSpec read_spec(const Json& config, const std::string& file, const Json& generation_config) {
  if (!config.is_object()) fail("not a JSON object", file);
  const std::string architecture = architecture_of(config, file);
  std::string known;
  for (const Family& family : kFamilies) {
    if (architecture != family.architecture) {
      known += (known.empty() ? "" : ", ") + std::string(family.architecture);
      continue;
    }
    ModelSpec spec = family.read(config, file);
    spec.family = architecture;
    add_eos(config, spec.eos, file);
    add_eos(generation_config, spec.eos, file);
    check(spec, file);
    return spec;
  }
  throw Error(ErrorCode::unsupported, "config",
              "the family " + architecture + " is not in this version; there are: " + known, {.file = file});
}

BlockNames ModelSpec::block(int64_t layer) const {
  const std::string p = "model.layers." + std::to_string(layer) + ".";
  return {.input_norm = p + "input_layernorm",
          .q = p + "self_attn.q_proj",
          .k = p + "self_attn.k_proj",
          .v = p + "self_attn.v_proj",
          .q_norm = p + "self_attn.q_norm",
          .k_norm = p + "self_attn.k_norm",
          .o = p + "self_attn.o_proj",
          .mlp_norm = p + "post_attention_layernorm",
          .gate = p + "mlp.gate_proj",
          .up = p + "mlp.up_proj",
          .down = p + "mlp.down_proj"};
}

std::vector<LinearSpec> ModelSpec::linears() const {
  std::vector<LinearSpec> list;
  const int64_t q_size = heads * head_dim, kv_size = kv_heads * head_dim;
  for (int64_t i = 0; i < layers; ++i) {
    const BlockNames names = block(i);
    const int qkv = static_cast<int>(2 * i), gate_up = qkv + 1;
    list.push_back({names.q, LinearKind::attention, q_size, hidden, qkv_bias, qkv});
    list.push_back({names.k, LinearKind::attention, kv_size, hidden, qkv_bias, qkv});
    list.push_back({names.v, LinearKind::attention, kv_size, hidden, qkv_bias, qkv});
    list.push_back({names.o, LinearKind::attention, hidden, q_size, o_bias, -1});
    list.push_back({names.gate, LinearKind::mlp, intermediate, hidden, mlp_bias, gate_up});
    list.push_back({names.up, LinearKind::mlp, intermediate, hidden, mlp_bias, gate_up});
    list.push_back({names.down, LinearKind::mlp, hidden, intermediate, mlp_bias, -1});
  }
  list.push_back({lm_head, LinearKind::lm_head, vocab, hidden, false, -1});
  return list;
}

std::vector<PlainTensorSpec> ModelSpec::plain_tensors() const {
  std::vector<PlainTensorSpec> list = {{embedding + ".weight", {vocab, hidden}}, {final_norm + ".weight", {hidden}}};
  for (int64_t i = 0; i < layers; ++i) {
    const BlockNames names = block(i);
    for (const std::string& norm : {names.input_norm, names.mlp_norm}) list.push_back({norm + ".weight", {hidden}});
    if (qk_norm)
      for (const std::string& norm : {names.q_norm, names.k_norm}) list.push_back({norm + ".weight", {head_dim}});
  }
  for (const LinearSpec& linear : linears())
    if (linear.bias) list.push_back({linear.name + ".bias", {linear.rows}});
  return list;
}

double ModelSpec::parameters() const {
  double total = static_cast<double>(vocab) * static_cast<double>(hidden) * (tied_head ? 1 : 2);
  for (const LinearSpec& linear : linears())
    if (linear.kind != LinearKind::lm_head)
      total += static_cast<double>(linear.rows) * static_cast<double>(linear.columns + (linear.bias ? 1 : 0));
  total += static_cast<double>(hidden) * static_cast<double>(2 * layers + 1);
  if (qk_norm) total += 2.0 * static_cast<double>(head_dim) * static_cast<double>(layers);
  return total;
}

}  // namespace codecllm
