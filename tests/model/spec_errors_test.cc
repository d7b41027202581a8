// SPDX-License-Identifier: Apache-2.0
// Configs that make no sense: the message names the key and the file.
#include <gmock/gmock.h>

#include "model/model_test.h"
#include "model/spec.h"

namespace codecllm {
namespace {

using ::testing::HasSubstr;

TEST(Spec, UnknownFamilyNamesTheKnownOnes) {
  const auto config = tiny_with(R"({"architectures": ["BertModel"]})");
  const std::string text = error_of(ErrorCode::unsupported, [&] { read_spec(config, "d/config.json"); });
  for (const char* part : {"BertModel", "LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM",
                           "Qwen3ForCausalLM", "d/config.json"})
    EXPECT_THAT(text, HasSubstr(part));
}

struct Bad {
  ErrorCode code;
  const char *patch, *named;  // what is wrong, and what the message must name
};

constexpr auto kBad = ErrorCode::bad_input, kUnsupported = ErrorCode::unsupported;
const Bad kBadConfigs[] = {
    {kBad, R"({"architectures": null})", "architectures"},
    {kUnsupported, R"({"architectures": ["Qwen2ForCausalLM"], "layer_types": ["full_attention", "sliding_attention"]})", "layer_types"},
    {kBad, R"({"architectures": []})", "architectures"},
    {kBad, R"({"architectures": "LlamaForCausalLM"})", "architectures"},
    {kBad, R"({"architectures": [1]})", "architectures"},
    {kBad, R"({"hidden_size": null})", "hidden_size"},
    {kBad, R"({"hidden_size": "32"})", "hidden_size"},
    {kBad, R"({"hidden_size": 32.0})", "hidden_size"},
    {kBad, R"({"hidden_size": [32]})", "hidden_size"},
    {kBad, R"({"hidden_size": 0})", "hidden_size"},
    {kBad, R"({"hidden_size": -32})", "hidden_size"},
    {kBad, R"({"hidden_size": 131073})", "hidden_size"},
    {kBad, R"({"hidden_size": 9223372036854775807})", "hidden_size"},
    {kBad, R"({"hidden_size": 18446744073709551615})", "hidden_size"},
    {kBad, R"({"hidden_size": 99999999999999999999})", "hidden_size"},
    {kBad, R"({"intermediate_size": null})", "intermediate_size"},
    {kBad, R"({"intermediate_size": -1})", "intermediate_size"},
    {kBad, R"({"intermediate_size": 1048577})", "intermediate_size"},
    {kBad, R"({"num_hidden_layers": null})", "num_hidden_layers"},
    {kBad, R"({"num_hidden_layers": 0})", "num_hidden_layers"},
    {kBad, R"({"num_hidden_layers": 1000000000})", "num_hidden_layers"},
    {kBad, R"({"num_attention_heads": null})", "num_attention_heads"},
    {kBad, R"({"num_attention_heads": 0})", "num_attention_heads"},
    {kBad, R"({"num_attention_heads": -4})", "num_attention_heads"},
    {kBad, R"({"num_attention_heads": 3, "head_dim": 8})", "num_key_value_heads"},
    {kBad, R"({"num_key_value_heads": 3})", "num_key_value_heads"},
    {kBad, R"({"num_key_value_heads": 0})", "num_key_value_heads"},
    {kBad, R"({"num_key_value_heads": -2})", "num_key_value_heads"},
    {kBad, R"({"num_key_value_heads": 8})", "num_key_value_heads"},
    {kBad, R"({"head_dim": 7})", "head_dim"},
    {kBad, R"({"head_dim": 0})", "head_dim"},
    {kBad, R"({"head_dim": -8})", "head_dim"},
    {kBad, R"({"head_dim": 1000000})", "head_dim"},
    {kBad, R"({"hidden_size": 2})", "head_dim"},
    {kBad, R"({"vocab_size": null})", "vocab_size"},
    {kBad, R"({"vocab_size": 0})", "vocab_size"},
    {kBad, R"({"vocab_size": 4294967296})", "vocab_size"},
    {kBad, R"({"max_position_embeddings": 0})", "max_position_embeddings"},
    {kBad, R"({"max_position_embeddings": 536870912})", "max_position_embeddings"},
    {kBad, R"({"max_position_embeddings": 1e3})", "max_position_embeddings"},
    {kBad, R"({"rms_norm_eps": -1e-6})", "epsilon"},
    {kBad, R"({"rms_norm_eps": "1e-6"})", "rms_norm_eps"},
    {kBad, R"({"tie_word_embeddings": 1})", "tie_word_embeddings"},
    {kBad, R"({"architectures": ["MistralForCausalLM"], "sliding_window": -1})", "sliding_window"},
    {kBad, R"({"rope_theta": 0})", "rope_theta"},
    {kBad, R"({"rope_theta": -1})", "rope_theta"},
    {kBad, R"({"rope_parameters": {"rope_theta": "1e6"}})", "rope_theta"},
    {kUnsupported, R"({"rope_parameters": {"full_attention": {"rope_theta": 1e6}}})", "full_attention"},
    {kUnsupported, R"({"partial_rotary_factor": 0.5})", "partial_rotary_factor"},
    {kUnsupported, R"({"rope_parameters": {"partial_rotary_factor": 0.5}})", "partial_rotary_factor"},
    {kBad, R"({"rope_scaling": {"type": "linear", "factor": 0}})", "factor"},
    {kBad, R"({"rope_scaling": {"type": "linear", "factor": "4"}})", "factor"},
    {kBad, R"({"eos_token_id": "2"})", "eos_token_id"},
    {kBad, R"({"eos_token_id": 1.5})", "eos_token_id"},
    {kBad, R"({"eos_token_id": [1, "x"]})", "eos_token_id"},
    {kBad, R"({"eos_token_id": 5000000000})", "eos_token_id"},
    {kUnsupported, R"({"hidden_act": "gelu"})", "gelu"},
    {kUnsupported, R"({"rope_scaling": {"type": "su", "factor": 4}})", "su"},
    {kBad, R"({"rope_scaling": {"type": "longrope", "short_factor": [1], "long_factor": [1]}})", "short_factor"},
};

TEST(Spec, RefusesBadConfigsByKeyAndFile) {
  for (const Bad& bad : kBadConfigs) {
    SCOPED_TRACE(bad.patch);
    const Json config = tiny_with(bad.patch);
    const std::string text = error_of(bad.code, [&] { read_spec(config, "d/config.json"); });
    EXPECT_THAT(text, HasSubstr(bad.named));
    EXPECT_THAT(text, HasSubstr("d/config.json"));
  }
  for (const char* text : {"[]", "null", "3", "\"LlamaForCausalLM\""})
    error_of(kBad, [&] { read_spec(parse_json(text, "f"), "f"); });
}

}  // namespace
}  // namespace codecllm
