// SPDX-License-Identifier: Apache-2.0
// What stands in the output directory beside the codes.
#include <gtest/gtest.h>

#include "quant/quantize.h"
#include "quant/support.h"

namespace codecllm {
namespace {

using test::error_of;
using test::model_data;
using test::TempDirectory;

QuantizeResult make(const std::string& source, const std::string& output, const char* scheme,
                    uint64_t shard_bytes = uint64_t{5} << 30) {
  return quantize_checkpoint(test::two_threads(), source, output,
                             {.scheme = scheme_preset(scheme), .shard_bytes = shard_bytes});
}

bool same_tensors(const std::string& a, const std::string& b) {
  const test::Tensors left = test::read_tensors(a), right = test::read_tensors(b);
  return std::equal(left.begin(), left.end(), right.begin(), right.end(), [](const auto& x, const auto& y) {
    return x.first == y.first && x.second.decl.dtype == y.second.decl.dtype &&
           x.second.decl.shape == y.second.decl.shape && x.second.data == y.second.data;
  });
}

OrderedJson config_of(const std::string& directory) {
  return read_ordered_json_file(directory + "/config.json");
}

TEST(QuantizeOutput, ConfigKeepsEveryOtherKeyInItsPlace) {
  const TempDirectory temp;
  const std::string source = test::copied_model("llama-bf16", temp / "m");
  OrderedJson config = {{"zeta", {{"b", 1}, {"a", 2}}}, {"unicode", "é\n"}};
  config.update(config_of(source));
  config["a_number"] = 1e-5;
  temp.write("m/config.json", dump_json(config, 4));
  make(source, temp / "int8", "int8");
  OrderedJson written = config_of(temp / "int8");
  ASSERT_TRUE(written.contains("quantization_config"));
  EXPECT_EQ(written["quantization_config"]["ignore"], (OrderedJson{"lm_head"}));
  written.erase("quantization_config");
  EXPECT_EQ(dump_json(written), dump_json(config));

  make(source, temp / "f16", "f16");
  OrderedJson expected = config;
  expected["dtype"] = "float16";
  EXPECT_EQ(dump_json(config_of(temp / "f16")), dump_json(expected));
}

TEST(QuantizeOutput, OlderConfigsKeepTheirNameOfTheType) {
  const TempDirectory temp;
  const std::string source = test::copied_model("llama-bf16", temp / "m");
  OrderedJson config = config_of(source);
  config.erase("dtype");
  config["torch_dtype"] = "bfloat16";
  temp.write("m/config.json", dump_json(config));
  make(source, temp / "f32", "f32");
  EXPECT_EQ(config_of(temp / "f32")["torch_dtype"], "float32");
  EXPECT_FALSE(config_of(temp / "f32").contains("dtype"));
}

TEST(QuantizeOutput, OtherFilesAreCopiedAndOtherWeightsAreNot) {
  const TempDirectory temp;
  const std::string source = test::copied_model("llama-bf16", temp / "m");
  std::string bytes;
  for (int i = 0; i < 3000; ++i) bytes += static_cast<char>(i * 7);
  for (const char* name : {"tokenizer.model", "merges.txt", "LICENSE", ".gitattributes"})
    temp.write(std::string("m/") + name, bytes + name);
  const std::string json = "{ \"a\" :\t[1,\r\n 2] }";
  temp.write("m/tokenizer.json", json);
  for (const char* name :
       {"pytorch_model.bin", "model.gguf", "extra.safetensors", "pytorch_model.bin.index.json"})
    temp.write(std::string("m/") + name, bytes);
  std::filesystem::create_directory(temp / "m/onnx");
  temp.write("m/onnx/model.onnx", bytes);
  make(source, temp / "q/", "int8");
  const auto files = test::files_of(temp / "q");
  std::vector<std::string> names;
  for (const auto& [name, text] : files) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{".gitattributes", "LICENSE", "codecllm_checksums.json", "codecllm_quantization.json",
                                             "config.json", "merges.txt", "model.safetensors", "tokenizer.json", "tokenizer.model"}));
  EXPECT_EQ(files.at("LICENSE"), bytes + "LICENSE");
  EXPECT_EQ(files.at("tokenizer.model"), bytes + "tokenizer.model");
  EXPECT_EQ(files.at("tokenizer.json"), json);
  EXPECT_FALSE(test::exists(temp / "q.partial"));
}

TEST(QuantizeOutput, ShardsHoldTheSameTensors) {
  const TempDirectory temp;
  for (const char* scheme : {"int8", "int4-g128", "int8-tensor", "f32"}) {
    const std::string whole = temp / scheme, shards = whole + "-shards";
    make(model_data("llama-bf16"), whole, scheme);
    const QuantizeResult result = make(model_data("llama-bf16"), shards, scheme, 20000);
    const auto files = test::files_of(shards);
    EXPECT_GT(files.size(), 4u) << scheme;
    EXPECT_TRUE(files.contains("model.safetensors.index.json"));
    EXPECT_FALSE(files.contains("model.safetensors"));
    for (const auto& [name, bytes] : files)
      if (name.ends_with(".safetensors")) {
        EXPECT_LT(bytes.size(), 20000u + 6144 * 4 + 4000) << name;  // one tensor may be larger
      }
    EXPECT_TRUE(same_tensors(whole, shards)) << scheme;
    EXPECT_EQ(config_of(whole), config_of(shards));
    EXPECT_EQ(result.weight_bytes, Checkpoint(whole).total_bytes());
  }
}

TEST(QuantizeOutput, ShardedSourcesGiveTheSameTensors) {
  const TempDirectory temp;
  make(model_data("llama-bf16"), temp / "source", "bf16", 30000);
  ASSERT_TRUE(test::exists(temp / "source/model.safetensors.index.json"));
  EXPECT_TRUE(same_tensors(temp / "source", model_data("llama-bf16")));
  for (const char* scheme : {"int8", "int4-g128", "f16"}) {
    make(model_data("llama-bf16"), temp / scheme + "-a", scheme);
    make(temp / "source", temp / scheme + "-b", scheme);
    EXPECT_EQ(test::difference(temp / scheme + "-a", temp / scheme + "-b"), "");
  }
}

TEST(QuantizeOutput, IsTheSameForAnyNumberOfThreads) {
  const TempDirectory temp;
  for (int threads : {1, 3}) {
    const Context context({.threads = threads});
    quantize_checkpoint(context, model_data("llama"), temp / std::to_string(threads),
                        {.scheme = scheme_preset("int4-g128")});
  }
  EXPECT_EQ(test::difference(temp / "1", temp / "3"), "");
}

TEST(QuantizeOutput, SaysWhereAGroupDoesNotFit) {
  const TempDirectory temp;
  const auto note_about = [](const QuantizeResult& r, int columns) {
    for (const std::string& note : r.notes)
      if (note.find("rows of " + std::to_string(columns) + " do not divide") != std::string::npos) return note;
    return std::string();
  };
  const QuantizeResult llama = make(model_data("llama"), temp / "a", "int8-g128");
  EXPECT_NE(note_about(llama, 80).find("one scale per channel is used"), std::string::npos);
  EXPECT_NE(note_about(llama, 32).find("groups of 32 are used"), std::string::npos);
  const QuantizeResult bf16 = make(model_data("llama-bf16"), temp / "b", "int4-g128");
  EXPECT_NE(note_about(bf16, 96).find("groups of 32 are used"), std::string::npos);
  EXPECT_NE(note_about(bf16, 64).find("groups of 64 are used"), std::string::npos);
  EXPECT_EQ(note_about(make(model_data("llama"), temp / "c", "int8"), 80), "");
  for (const LayerReport& layer : bf16.layers)
    EXPECT_EQ(layer.scheme, layer.name.ends_with("down_proj") ? "int4 group 32" : "int4 group 64");
}

TEST(QuantizeOutput, LeftOutLayersStayAsTheyAre) {
  const TempDirectory temp;
  QuantizeOptions options = {.scheme = scheme_preset("int8"),
                             .selection = {.only = {"*.mlp.*", "lm_head"}, .ignore = {"*.1.*"}}};
  const QuantizeResult result =
      quantize_checkpoint(test::two_threads(), model_data("llama-bf16"), temp / "q", options);
  EXPECT_EQ(result.layers.size(), 4u);
  const test::Tensors tensors = test::read_tensors(temp / "q"),
                      source = test::read_tensors(model_data("llama-bf16"));
  EXPECT_TRUE(tensors.contains("lm_head.weight_packed"));
  EXPECT_EQ(tensors.at("model.layers.1.mlp.up_proj.weight").data,
            source.at("model.layers.1.mlp.up_proj.weight").data);
  EXPECT_EQ(config_of(temp / "q")["quantization_config"]["ignore"].size(), 15u - 4u);
}

TEST(QuantizeOutput, WhatExistsIsRefusedAndKept) {
  const TempDirectory temp;
  make(model_data("llama"), temp / "q", "int8");
  const auto before = test::files_of(temp / "q");
  temp.write("file", "text");
  for (const char* name : {"q", "q/", "file", "."})
    error_of([&] { make(model_data("llama"), temp / name, "int4-g128"); }, ErrorCode::bad_call);
  EXPECT_EQ(test::files_of(temp / "q"), before);
  EXPECT_EQ(read_file(temp / "file"), "text");
  EXPECT_NE(error_of([&] { make(temp / "q", temp / "again", "int8"); }, ErrorCode::bad_call)
                .find("quantized already"),
            std::string::npos);
  EXPECT_FALSE(test::exists(temp / "again") || test::exists(temp / "again.partial"));
}

}  // namespace
}  // namespace codecllm
