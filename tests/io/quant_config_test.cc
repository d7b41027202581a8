// SPDX-License-Identifier: Apache-2.0
#include "io/quant_config.h"

#include <gmock/gmock.h>

#include <ctime>

#include "io/quant_readers.h"
#include "io/support.h"

namespace codecllm {
namespace {

using test::error_of;
using testing::HasSubstr;

QuantConfig read(const std::string& quantization_config) {
  return QuantConfig::read(parse_json("{\"quantization_config\":" + quantization_config + "}", "f"), "f");
}

// A config with these groups, and these entries to ignore.
std::string config_of(const std::string& groups, const std::string& ignore = "[]") {
  return R"({"quant_method":"compressed-tensors","format":"pack-quantized","quantization_status":"compressed",)"
         R"("config_groups":)" +
         groups + ",\"ignore\":" + ignore + "}";
}

// One group for all linear modules with these weights.
std::string weights(const std::string& args) {
  return config_of(R"({"group_0":{"targets":["Linear"],"weights":)" + args + "}}");
}

QuantArgs args_of(const std::string& args) { return read(weights(args)).scheme_for("m")->weights.value(); }

std::string config_refusal(const std::string& config, ErrorCode code = ErrorCode::bad_input) {
  const std::string message = error_of([&] { read(config); }, code);
  EXPECT_THAT(message, testing::EndsWith(" in f"));
  return message;
}

TEST(QuantConfig, IsEmptyWithoutTheKey) {
  for (const char* text : {"{}", R"({"quantization_config":null})"}) {
    const QuantConfig config = QuantConfig::read(parse_json(text, "f"), "f");
    EXPECT_EQ(config.method(), "");
    EXPECT_EQ(config.scheme_for("m"), std::nullopt);
  }
}

TEST(QuantConfig, ReadsTheOlderKey) {
  const auto json =
      parse_json("{\"compression_config\":" + weights(R"({"num_bits":8,"strategy":"channel"})") + "}", "f");
  EXPECT_EQ(QuantConfig::read(json, "f").scheme_for("m")->name, "int8");
}

TEST(QuantConfig, ReadsArgsAndInfersTheStrategy) {
  EXPECT_EQ(args_of("{\"num_bits\":8}").strategy, Strategy::tensor);
  EXPECT_EQ(args_of(R"({"num_bits":8,"group_size":-1})").strategy, Strategy::channel);
  const QuantArgs group =
      args_of(R"({"num_bits":4,"group_size":32,"type":"INT","symmetric":false,"dynamic":false,
      "observer":"mse","observer_kwargs":{"a":1},"actorder":"weight","zp_dtype":"torch.int8","scale_dtype":null})");
  EXPECT_EQ(group,
            (QuantArgs{.num_bits = 4, .strategy = Strategy::group, .group_size = 32, .symmetric = false}));
  for (const char* block : {"[128,64]", "\"128x64\""}) {
    const QuantArgs args =
        args_of(R"({"type":"float","strategy":"block","block_structure":)" + std::string(block) + "}");
    EXPECT_EQ(args.type, NumberType::floating);
    EXPECT_EQ(args.block, (std::array<int, 2>{128, 64}));
  }
}

TEST(QuantConfig, ReadsActivationOrder) {
  for (const char* value : {"\"group\"", "\"dynamic\"", "\"GROUP\"", "true"})
    EXPECT_TRUE(read(weights(R"({"num_bits":4,"group_size":32,"actorder":)" + std::string(value) + "}"))
                    .groups()[0]
                    .group_order);
  for (const char* value : {"\"weight\"", "\"static\"", "false", "null"})
    EXPECT_FALSE(read(weights(R"({"num_bits":4,"group_size":32,"actorder":)" + std::string(value) + "}"))
                     .groups()[0]
                     .group_order);
}

TEST(QuantConfig, ReadsActivations) {
  const auto scheme = read(config_of(R"({"g":{"targets":["Linear"],"weights":{"strategy":"channel"},
      "input_activations":{"strategy":"token","dynamic":true}}})"))
                          .scheme_for("m");
  ASSERT_TRUE(scheme && scheme->activations);
  EXPECT_EQ(scheme->activations->strategy, Strategy::token);
  EXPECT_EQ(scheme->name, "w8a8");
}

TEST(QuantConfig, RefusesBadArgs) {
  const struct {
    const char *args, *says;
  } cases[] = {
      {"[]", "is not an object"},
      {R"({"num_bits":"8"})", "num_bits"},
      {R"({"type":"complex"})", "has type 'complex'"},
      {R"({"group_size":0})", "has group_size 0"},
      {R"({"group_size":-2})", "has group_size -2"},
      {R"({"group_size":99999999999})", "group_size"},
      {R"({"strategy":"group"})", "without a group_size"},
      {R"({"strategy":"channel","group_size":32})", "with strategy 'channel'"},
      {R"({"strategy":"block"})", "needs block_structure"},
      {R"({"block_structure":[1,1]})", "needs block_structure"},
      {R"({"strategy":"block","block_structure":[0,1]})", "sizes of 1 or more"},
      {R"({"strategy":"block","block_structure":[1]})", "expected [rows, columns]"},
      {R"({"strategy":"block","block_structure":"128"})", "bad block_structure"},
      {R"({"strategy":"block","block_structure":"1x2x3"})", "bad block_structure"},
      {R"({"strategy":"block","block_structure":"-1x2"})", "sizes of 1 or more"},
      {R"({"strategy":"token"})", "not dynamic"},
      {R"({"strategy":"channel","dynamic":true})", "that is dynamic"},
      {R"({"strategy":"tensor","dynamic":true})", "found at run time"},
      {R"({"group_size":32,"actorder":"random"})", "has actorder 'random'"},
      {R"({"actorder":"group"})", "without groups"},
      {R"({"symmetric":"yes"})", "symmetric"},
  };
  for (const auto& c : cases) EXPECT_THAT(config_refusal(weights(c.args)), HasSubstr(c.says)) << c.args;
}

TEST(QuantConfig, SaysWhatThisVersionDoesNotRead) {
  const auto unsupported = [](const std::string& config) { return config_refusal(config, ErrorCode::unsupported); };
  for (const char* method : {"gptq", "awq", "fp8", "bitsandbytes", "torchao", "mxfp4"})
    EXPECT_THAT(unsupported("{\"quant_method\":\"" + std::string(method) + "\"}"),
                HasSubstr("quant_method '" + std::string(method) + "' is not read in this version"));
  for (const char* format : {"nvfp4-pack-quantized", "marlin-24", "sparse-bitmask", "new"})
    EXPECT_THAT(
        unsupported(R"({"quant_method":"compressed-tensors","format":")" + std::string(format) + "\"}"),
        HasSubstr("format '" + std::string(format) + "' is not read"));
  EXPECT_THAT(unsupported(R"({"quant_method":"codecllm","version":3,"format":"pack-quantized"})"),
              HasSubstr("newer version"));
  const std::string start = R"({"quant_method":"compressed-tensors",)";
  EXPECT_THAT(unsupported(start + R"("sparsity_config":{"format":"sparse-24-bitmask"}})"),
              HasSubstr("sparse weights"));
  EXPECT_THAT(unsupported(start + R"("transform_config":{"config_groups":{"R1":{}}}})"),
              HasSubstr("rotated weights"));
  EXPECT_NO_THROW(read(start + R"("sparsity_config":{},"transform_config":{}})"));
  EXPECT_THAT(unsupported(config_of(R"({"W8A16":["Linear"]})")), HasSubstr("only the name of a preset"));
  EXPECT_THAT(unsupported(config_of(R"({"g":{"targets":["Linear"],"output_activations":{"num_bits":8}}})")),
              HasSubstr("output_activations"));
  EXPECT_THAT(unsupported(weights(R"({"type":"float","num_bits":4})")), HasSubstr("float numbers of 4 bits"));
  EXPECT_THAT(unsupported(weights(R"({"num_bits":16})")), HasSubstr("int numbers of 16 bits"));
  EXPECT_THAT(unsupported(weights(R"({"strategy":"tensor_group"})")), HasSubstr("strategy 'tensor_group'"));
  EXPECT_THAT(unsupported(weights(R"({"dynamic":"local"})")), HasSubstr("dynamic 'local'"));

}

TEST(QuantConfig, RefusesBadShapesOfTheConfig) {
  EXPECT_THAT(config_refusal("[]"), HasSubstr("not an object"));
  EXPECT_THAT(config_refusal("{}"), HasSubstr("quant_method"));
  EXPECT_THAT(config_refusal(R"({"quant_method":"codecllm","format":"pack-quantized"})"), HasSubstr("version"));
  EXPECT_THAT(config_refusal(config_of("[]")), HasSubstr("'config_groups' is not an object"));
  EXPECT_THAT(config_refusal(config_of("{\"g\":3}")), HasSubstr("is not an object"));
  EXPECT_THAT(config_refusal(config_of("{\"g\":{}}")), HasSubstr("has no targets"));
  EXPECT_THAT(config_refusal(config_of(R"({"g":{"targets":"Linear"}})")), HasSubstr("'targets' is not a list"));
  EXPECT_THAT(config_refusal(config_of("{}", "[1]")), HasSubstr("'ignore' holds"));
  EXPECT_THAT(config_refusal(config_of(R"({"a":{"targets":["Linear"]},"b":{"targets":["Linear"]}})")),
              HasSubstr("twice"));
}

// Groups told apart by their bits: 2 class, 3 and 4 expressions, 5 exact.
QuantConfig ranked(const std::string& ignore = "[]") {
  const auto group = [](const char* target, int bits) {
    return "{\"targets\":[\"" + std::string(target) +
           "\"],\"weights\":{\"num_bits\":" + std::to_string(bits) + "}}";
  };
  return read(config_of("{\"a\":" + group("Linear", 2) + ",\"b\":" + group("re:.*\\\\.q_proj$", 4) +
                            ",\"c\":" + group("re:.*\\\\.[pq]_", 3) + ",\"d\":" + group("l.0.q_proj", 5) +
                            "}",
                        ignore));
}

TEST(QuantConfig, ExactBeatsExpressionBeatsClass) {
  const QuantConfig config = ranked();
  const auto bits = [&](const char* name) { return config.scheme_for(name)->weights->num_bits; };
  EXPECT_EQ(bits("l.0.q_proj"), 5);
  EXPECT_EQ(bits("l.1.q_proj"), 3);  // two expressions: the alphabetically first, "re:.*\.[pq]_"
  EXPECT_EQ(bits("l.1.k_proj"), 2);
  EXPECT_EQ(config.group_for("l.1.k_proj")->name, "a");
}

TEST(QuantConfig, IgnoreWins) {
  const QuantConfig config = ranked(R"(["lm_head","l.0.q_proj","re:l\\.1"])");
  EXPECT_EQ(config.group_for("lm_head"), nullptr);
  EXPECT_EQ(config.group_for("l.0.q_proj"), nullptr);
  EXPECT_EQ(config.group_for("l.1.q_proj"), nullptr);
  EXPECT_NE(config.group_for("l.2.q_proj"), nullptr);
  EXPECT_NE(config.group_for("model.lm_head"), nullptr);
  EXPECT_EQ(ranked("[\"Linear\"]").group_for("l.2.q_proj"), nullptr);
}

TEST(QuantConfig, ExpressionsMatchAtTheStartOnly) {
  using Match = NamePattern::Match;
  EXPECT_EQ(NamePattern("re:l\\.1", "f").match("l.10.x"), Match::regex);
  EXPECT_EQ(NamePattern("re:l\\.1", "f").match("m.l.1"), Match::none);
  EXPECT_EQ(NamePattern("re:(?!.*gate).*mlp", "f").match("l.mlp.up"), Match::regex);
  EXPECT_EQ(NamePattern("re:", "f").match("x"), Match::regex);
  EXPECT_EQ(NamePattern("l.1", "f").match("l.10"), Match::none);
  EXPECT_EQ(NamePattern("l.1", "f").match("lx1"), Match::none);
  EXPECT_EQ(NamePattern("Linear", "f").match("x"), Match::class_name);
}

TEST(QuantConfig, RefusesBadExpressions) {
  EXPECT_THAT(config_refusal(config_of("{}", R"(["re:("])")), HasSubstr("'re:(' is not a valid regular expression"));
  EXPECT_THAT(config_refusal(config_of("{}", "[\"re:" + std::string(5000, 'a') + "\"]")),
              HasSubstr("longer than 4096"));
}

TEST(QuantConfig, StopsExpressionsThatTakeForEver) {
  const std::clock_t start = std::clock();
  const std::string name(60, 'a');
  for (const char* pattern : {"re:(a+)+$x", "re:(a|a)*b", "re:(.*)*(.*)*(.*)*b", "re:((a?){40}){40}b"})
    EXPECT_THAT(error_of([&] { NamePattern(pattern, "f").match(name); }), HasSubstr("takes too long"))
        << pattern;
  EXPECT_LT((std::clock() - start) / CLOCKS_PER_SEC, 100);  // each alone would take years
}

QuantGroup group_of(const char* preset) { return {.scheme = scheme_preset(preset)}; }

TEST(MakeQuantConfig, WritesWhatOthersExpect) {
  const OrderedJson json = make_quant_config({group_of("int4-g128")}, {"lm_head"});
  EXPECT_EQ(dump_json(json),
            R"({"quant_method":"compressed-tensors","version":"0.11.0","format":"pack-quantized",)"
            R"("quantization_status":"compressed","global_compression_ratio":null,"kv_cache_scheme":null,)"
            R"("config_groups":{"group_0":{"targets":["Linear"],"weights":{"num_bits":4,"type":"int",)"
            R"("symmetric":true,"group_size":128,"strategy":"group","block_structure":null,"dynamic":false,)"
            R"("actorder":null,"observer":"minmax","observer_kwargs":{}},"input_activations":null,)"
            R"("output_activations":null}},"ignore":["lm_head"]})");
}

TEST(MakeQuantConfig, ReadsBackForEveryPreset) {
  for (const QuantScheme& preset : scheme_presets()) {
    if (!preset.weights) continue;
    const OrderedJson json = make_quant_config({group_of(preset.name.c_str())}, {});
    const QuantConfig config = read(dump_json(json));
    EXPECT_EQ(config.scheme_for("m"), preset);
    const bool integer = preset.weights->type == NumberType::integer;
    EXPECT_EQ(config.groups()[0].format, !integer ? "float-quantized" : preset.activations ? "int-quantized" : "pack-quantized");
    EXPECT_EQ(stores_bytes(preset), config.groups()[0].format != "pack-quantized");
    // What compressed-tensors has words for is told in them, though vLLM refuses some.
    const bool ours = preset.name == "fp8-e5m2" || preset.name == "llm-int8";
    EXPECT_EQ(config.method(), ours ? "codecllm" : "compressed-tensors") << preset.name;
    const std::vector<std::string> told = readers_of(config.method(), config.groups());
    ASSERT_EQ(told.size(), ours || preset.name == "int8-tensor" || preset.name == "w8a8-tensor" ? 1u : 0u) << preset.name;
    if (ours) {
      EXPECT_THAT(told[0], HasSubstr("computes garbage")) << preset.name;
    }
    const std::vector<std::string> as_codecllm = readers_of("codecllm", config.groups());
    ASSERT_EQ(as_codecllm.size(), 1u) << preset.name;
    EXPECT_THAT(as_codecllm[0], HasSubstr("only codecllm loads")) << preset.name;
    // Older readers would take columns of outliers for zeros.
    EXPECT_EQ(json["version"] == 2, preset.name == "llm-int8");
  }
}

TEST(MakeQuantConfig, MixedFormatsStandWithTheirGroups) {
  QuantGroup dynamic{.name = "group_1", .targets = {"re:.*mlp"}};
  dynamic.scheme.name = "w8a8";
  dynamic.scheme.weights = QuantArgs{};
  dynamic.scheme.activations = QuantArgs{.strategy = Strategy::token, .dynamic = true};
  const OrderedJson json = make_quant_config({group_of("int4-g128"), dynamic}, {});
  EXPECT_EQ(json["format"], "mixed-precision");
  EXPECT_EQ(json["config_groups"]["group_1"]["format"], "int-quantized");
  const QuantConfig config = read(dump_json(json));
  EXPECT_EQ(config.group_for("mlp.up")->scheme, dynamic.scheme);
  EXPECT_EQ(config.group_for("mlp.up")->format, "int-quantized");
  EXPECT_EQ(config.group_for("attn.q")->format, "pack-quantized");
}

TEST(MakeQuantConfig, RefusesNonsense) {
  error_of([] { make_quant_config({}, {}); }, ErrorCode::bad_call);
  error_of([] { make_quant_config({group_of("int8"), group_of("int8")}, {}); }, ErrorCode::bad_call);
}

TEST(RefusedBy, NamesWhoAndWhy) {
  const auto why = [](QuantArgs weights, std::optional<QuantArgs> inputs = {}) {
    return refused_by({.name = "custom", .weights = weights, .activations = inputs}).value_or("");
  };
  const QuantArgs token{.strategy = Strategy::token, .dynamic = true};
  const QuantArgs f8{.type = NumberType::floating},
      f8_token{.type = NumberType::floating, .strategy = Strategy::token, .dynamic = true};
  EXPECT_EQ(refused_by(scheme_preset("bf16")), std::nullopt);
  EXPECT_EQ(why({.num_bits = 4, .strategy = Strategy::group, .group_size = 64}), "");
  EXPECT_EQ(why({.num_bits = 3}), "vLLM loads weight-only integers of 4 or 8 bits, not of 3");
  EXPECT_THAT(why({.strategy = Strategy::tensor}), HasSubstr("per channel or group, not per tensor"));
  EXPECT_THAT(why({.strategy = Strategy::group, .group_size = 256}),
              HasSubstr("groups of 32, 64 or 128, not of 256"));
  EXPECT_EQ(why({}, token), "");
  EXPECT_EQ(why({.strategy = Strategy::tensor}, QuantArgs{.strategy = Strategy::tensor}), "");
  EXPECT_THAT(why({.num_bits = 4}, token), HasSubstr("both are 8-bit integers"));
  EXPECT_THAT(why({.symmetric = false}, token), HasSubstr("weights are symmetric"));
  EXPECT_THAT(why({}, QuantArgs{}), HasSubstr("dynamic per token, or static per tensor"));
  EXPECT_EQ(why(f8), "");
  EXPECT_EQ(why(f8, f8_token), "");
  EXPECT_THAT(why(f8, token), HasSubstr("activations that are 8-bit floats"));
  EXPECT_THAT(why({.type = NumberType::floating, .strategy = Strategy::group, .group_size = 128}),
              HasSubstr("per tensor, channel or block of 128x128"));
}

}  // namespace
}  // namespace codecllm
