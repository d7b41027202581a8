// SPDX-License-Identifier: Apache-2.0
// config.json to ModelSpec: both generations of keys, values that make no sense, sizes of a known model.
#include "model/spec.h"

#include "base/file.h"
#include "model/model_test.h"

namespace codecllm {
namespace {

std::string text_of(const ModelSpec& s) {
  OrderedJson j;
  j["family"] = s.family;
  j["sizes"] = {s.hidden,   s.intermediate, s.layers, s.heads,
                s.kv_heads, s.head_dim,     s.vocab,  s.max_positions};
  j["window"] = {s.sliding_window, s.first_window_layer};
  j["eps"] = s.norm_eps;
  j["flags"] = {s.tied_head, s.qkv_bias, s.o_bias, s.mlp_bias, s.qk_norm};
  j["rope"] = {
      s.rope.type,      s.rope.base,      s.rope.factor,   s.rope.low_freq_factor,  s.rope.high_freq_factor,
      s.rope.beta_fast, s.rope.beta_slow, s.rope.truncate, s.rope.attention_factor, s.rope.original_positions,
      s.rope.rotary};
  j["eos"] = s.eos;
  j["names"] = {s.embedding, s.final_norm, s.lm_head};
  return dump_json(j);
}

TEST(Spec, BothGenerationsOfConfigMeanTheSame) {
  for (const std::string& name : model_names()) {
    const std::string directory = model_directory(name);
    const ModelSpec now = read_spec(read_json_file(directory + "/config.json"), "config.json");
    const ModelSpec old = read_spec(read_json_file(directory + "/config_old.json"), "config_old.json");
    EXPECT_EQ(text_of(now), text_of(old)) << name;
    for (int64_t length : {1, 64, 200})
      EXPECT_EQ(rope_frequencies(now.rope, length), rope_frequencies(old.rope, length));
  }
}

TEST(Spec, ReadsWhatTheFamiliesDifferIn) {
  const auto spec = [](const std::string& name) {
    const std::string file = model_directory(name) + "/config.json";
    return read_spec(read_json_file(file), file);
  };
  EXPECT_EQ(spec("mistral").sliding_window, 8);
  EXPECT_EQ(spec("llama").sliding_window, 0);
  EXPECT_TRUE(spec("llama-tied").tied_head);
  EXPECT_TRUE(spec("llama-mha").o_bias && spec("llama-mha").mlp_bias && spec("llama-mha").qkv_bias);
  EXPECT_EQ(spec("llama-mha").head_dim, 20);  // 48 / 2 would be 24
  EXPECT_TRUE(spec("qwen2").qkv_bias && !spec("qwen2").o_bias && !spec("qwen2").qk_norm);
  EXPECT_TRUE(spec("qwen3").qk_norm && !spec("qwen3").qkv_bias);
  EXPECT_EQ(spec("qwen2").rope.base, 1e6);
  EXPECT_EQ(spec("llama-bf16").rope.base, 5e5);
  EXPECT_EQ(read_spec(tiny_with(R"({"num_key_value_heads": null})"), "f").kv_heads, 4);
  EXPECT_EQ(read_spec(tiny(), "f").head_dim, 8);
  const auto qwen = [](const std::string& keys) {
    return read_spec(
        tiny_with(R"({"architectures": ["Qwen2ForCausalLM"], "sliding_window": 16, "max_window_layers": 1)" +
                  keys + "}"),
        "f");
  };
  EXPECT_EQ(qwen("").sliding_window, 0);
  EXPECT_EQ(qwen(R"(, "use_sliding_window": true)").sliding_window, 16);
  EXPECT_EQ(qwen(R"(, "use_sliding_window": true)").first_window_layer, 1);
}

TEST(Spec, EndOfTextIsANumberAListOrNothing) {
  const auto eos = [](const char* patch, const Json& generation = nullptr) {
    return read_spec(tiny_with(patch), "f", generation).eos;
  };
  EXPECT_EQ(eos("{}"), std::vector<int32_t>());
  EXPECT_EQ(eos(R"({"eos_token_id": 2})"), std::vector<int32_t>{2});
  EXPECT_EQ(eos(R"({"eos_token_id": [2, 7]})"), (std::vector<int32_t>{2, 7}));
  Json explicit_null = tiny();
  explicit_null["eos_token_id"] = nullptr;
  EXPECT_TRUE(read_spec(explicit_null, "f").eos.empty());
  EXPECT_EQ(eos("{}", {{"eos_token_id", {5, 6}}}), (std::vector<int32_t>{5, 6}));
  EXPECT_EQ(eos(R"({"eos_token_id": 2})", {{"eos_token_id", 9}}), (std::vector<int32_t>{2, 9}));
}

TEST(Spec, SizesOfTinyLlama) {
  const ModelSpec spec = read_spec({{"architectures", {"LlamaForCausalLM"}},
                                    {"hidden_size", 2048},
                                    {"intermediate_size", 5632},
                                    {"num_hidden_layers", 22},
                                    {"num_attention_heads", 32},
                                    {"num_key_value_heads", 4},
                                    {"vocab_size", 32000},
                                    {"max_position_embeddings", 2048},
                                    {"rms_norm_eps", 1e-5},
                                    {"tie_word_embeddings", false}},
                                   "config.json");
  EXPECT_EQ(spec.parameters(), 1100048384.0);
  const auto linears = spec.linears();
  ASSERT_EQ(linears.size(), 22u * 7 + 1);
  double weights = 0;
  for (const LinearSpec& l : linears) weights += static_cast<double>(l.rows) * static_cast<double>(l.columns);
  EXPECT_EQ(weights, 1100048384.0 - 32000.0 * 2048 - 45 * 2048);  // without the embedding and the norms
  EXPECT_EQ(linears[1].name, "model.layers.0.self_attn.k_proj");
  EXPECT_EQ(linears[1].rows, 256);
  EXPECT_EQ(linears[13].name, "model.layers.1.mlp.down_proj");
  EXPECT_EQ(linears[13].columns, 5632);
  EXPECT_EQ(linears.back().name, "lm_head");
  EXPECT_EQ(linears.back().kind, LinearKind::lm_head);
  EXPECT_EQ(linears[7].fused_group, linears[9].fused_group);    // q and v
  EXPECT_EQ(linears[11].fused_group, linears[12].fused_group);  // gate and up
  EXPECT_NE(linears[7].fused_group, linears[0].fused_group);
  EXPECT_EQ(linears[10].fused_group, -1);
}

}  // namespace
}  // namespace codecllm
