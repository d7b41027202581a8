// SPDX-License-Identifier: Apache-2.0
// What is converted, is read back: as told, exact where the layout can hold it, and off by no more than said elsewhere.
#include <gmock/gmock.h>

#include <filesystem>

#include "model/model_tokenizer.h"
#include "quant/convert_support.h"

namespace codecllm {
namespace {

using test::converted;
using test::error_of;
using test::expect_as_told;
using test::model_with_tokenizer;
using test::quantized;
using test::TempDirectory;
using test::two_threads;
using testing::HasSubstr;

TEST(Convert, PlainFloatsToGgufAndBack) {
  const TempDirectory dir;
  const std::string model = model_with_tokenizer(dir);
  const ConvertResult there = converted(model, dir / "new/m.gguf", "gguf");
  EXPECT_EQ(there.requantized(), 0);
  EXPECT_EQ(there.bytes, std::filesystem::file_size(dir / "new/m.gguf"));
  expect_as_told(there, model, dir / "new/m.gguf");
  const ConvertResult back = converted(dir / "new/m.gguf", dir / "back", "bf16");
  EXPECT_EQ(back.requantized(), 0);
  expect_as_told(back, model, dir / "back");
  const Tokenizer original = load_tokenizer(model);
  for (const std::string& path : {dir / "new/m.gguf", dir / "back"})
    for (const char* text : {"the rain in spain", "  two", "caf\u00e9", "</s>the"}) EXPECT_EQ(load_tokenizer(path).encode(text), original.encode(text)) << text;
}

TEST(Convert, IntegersGoIntoGgufBitByBit) {
  const TempDirectory dir;
  const std::string model = model_with_tokenizer(dir);
  for (const std::string scheme : {"int8", "int4-g128", "int8-tensor"}) {
    const std::string source = quantized(dir, model, scheme), target = dir / (scheme + ".gguf");
    const ConvertResult result = converted(source, target, "gguf");
    EXPECT_EQ(result.requantized(), 0) << scheme;
    expect_as_told(result, source, target);
    int blocks = 0;
    const GgufFile file(target);
    for (const GgufTensor& tensor : file.tensors())
      blocks += tensor.type == (scheme == "int4-g128" ? GgmlType::q4_0 : GgmlType::q8_0);
    EXPECT_EQ(blocks, 14) << scheme;
    // And from there into every layout for groups of 32.
    for (const std::string format : {"gptq", "compressed-tensors", "codecllm"}) {
      const ConvertResult next = converted(target, dir / (scheme + format), format);
      EXPECT_EQ(next.requantized(), 0) << scheme << format;
      expect_as_told(next, target, dir / (scheme + format));
    }
  }
}

TEST(Convert, ScalesThatGgufRoundsAreTold) {
  const TempDirectory dir;
  const std::string model = quantized(dir, test::model_data("llama"), "int8");  // F32
  const auto told = [](const ConvertResult& result) {
    return std::any_of(result.notes.begin(), result.notes.end(), [](const std::string& note) { return note.find("rounded to F16") != note.npos; });
  };
  write_file_atomically(model + "/tokenizer.json", read_file(model_with_tokenizer(dir) + "/tokenizer.json"));
  EXPECT_TRUE(told(converted(model, dir / "auto.gguf", "gguf")));
  EXPECT_FALSE(told(converted(model, dir / "f32.gguf", "gguf", "f32")));
}

TEST(Convert, TypesOfGgufThatLoseSomethingSayHowMuch) {
  const TempDirectory dir;
  const std::string model = model_with_tokenizer(dir);
  for (const std::string type : {"q8_0", "q4_0", "f16", "f32", "bf16"}) {
    const ConvertResult result = converted(model, dir / (type + ".gguf"), "gguf", type);
    // F16 has no room for the smallest BF16 values.
    EXPECT_EQ(result.requantized() == 0, type == "f32" || type == "bf16") << type;
    expect_as_told(result, model, dir / (type + ".gguf"));
  }
}

TEST(Convert, GptqAndAwqOfIntegersAreExact) {
  const TempDirectory dir;
  const std::string model = model_with_tokenizer(dir), int4 = quantized(dir, model, "int4-g128"), int8 = quantized(dir, model, "int8");
  const auto expect_exact = [&](const std::string& source, const std::string& format, const std::string& name) {
    const ConvertResult result = converted(source, dir / name, format);
    EXPECT_EQ(result.requantized(), 0) << name;
    expect_as_told(result, source, dir / name);
  };
  expect_exact(int8, "gptq", "gptq8");
  expect_exact(dir / "gptq8", "gptq", "gptq8 again");
  expect_exact(int4, "gptq", "gptq4");  // groups of 64 and of 32 become groups of 32
  expect_exact(int4, "awq", "awq4");
  expect_exact(dir / "awq4", "gptq", "awq to gptq");
}

TEST(Convert, PlainWeightsToAwqAreRounded) {
  const TempDirectory dir;
  const std::string model = model_with_tokenizer(dir);
  const ConvertResult rounded = converted(model, dir / "rounded", "awq");
  EXPECT_EQ(rounded.requantized(), 14);
  expect_as_told(rounded, model, dir / "rounded");
  EXPECT_EQ(read_json_file(dir / "rounded/config.json")["quantization_config"]["group_size"], 32);  // rows of 64 and 96
  // 84 rows do not fill words of 8 codes.
  EXPECT_THAT(error_of([&] { converted(test::model_data("llama-mha"), dir / "awq", "awq"); }, ErrorCode::unsupported),
              HasSubstr("does not fill words of 8 codes"));
  EXPECT_FALSE(std::filesystem::exists(dir / "awq"));
  EXPECT_FALSE(std::filesystem::exists(dir / "awq.partial"));
  const ConvertResult four = converted(model, dir / "q4.gguf", "gguf", "q4_0");
  const ConvertResult awq = converted(dir / "q4.gguf", dir / "awq", "awq");
  EXPECT_EQ(awq.requantized(), 0);
  expect_as_told(awq, dir / "q4.gguf", dir / "awq");
  EXPECT_EQ(read_json_file(dir / "awq/config.json")["quantization_config"]["version"], "gemm");
}

TEST(Convert, WrongCallsLeaveNothing) {
  const TempDirectory dir;
  const std::string model = model_with_tokenizer(dir);
  EXPECT_THAT(error_of([&] { converted(model, dir / "x", "onnx"); }, ErrorCode::bad_call), HasSubstr("there are: compressed-tensors, gptq, awq, gguf"));
  EXPECT_THAT(error_of([&] { converted(model, dir / "x", "gguf"); }, ErrorCode::bad_call), HasSubstr("ends with .gguf"));
  EXPECT_THAT(error_of([&] { converted(model, dir / "x.gguf", "gguf", "q3_k"); }, ErrorCode::bad_call), HasSubstr("there are: auto, f32"));
  EXPECT_THAT(error_of([&] { converted(model, model, "bf16"); }, ErrorCode::bad_call), HasSubstr("exists already"));
  for (const std::string format : {"bf16", "gguf"}) {
    const std::string output = dir / ("y" + std::string(format == "gguf" ? ".gguf" : ""));
    const auto stop = [](double done, std::string_view) { return done < 0.5; };
    EXPECT_THROW(convert_checkpoint(two_threads(), model, output, {format}, stop), Error);
  }
  std::filesystem::remove(model + "/tokenizer.json");
  EXPECT_THAT(error_of([&] { converted(model, dir / "x.gguf", "gguf"); }), HasSubstr("no tokenizer.json"));
  int left = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir.path())) left += entry.path() != model;
  EXPECT_EQ(left, 0);
}

// The whole circle through the program's own loader: the same logits would follow from the same values; here the loader
// takes what was written.
TEST(Convert, WhatIsWrittenLoads) {
  const TempDirectory dir;
  const std::string model = model_with_tokenizer(dir), int8 = quantized(dir, model, "int8");
  converted(int8, dir / "m.gguf", "gguf");
  converted(int8, dir / "gptq", "gptq");
  for (const std::string& path : {dir / "m.gguf", dir / "gptq"}) EXPECT_GT(load_model(two_threads(), path).weights.bytes(), 0u);
}

// What stands beside the weights goes along, but for what tells about the source's own weights.
TEST(Convert, TakesTheSameCompanionsAsQuantize) {
  const TempDirectory dir;
  const std::string model = model_with_tokenizer(dir);
  std::filesystem::remove(model + "/config_old.json");
  for (const char* name : {"LICENSE", "merges.txt", "chat_template.jinja", "quantize_config.json", "quant_config.json", "pytorch_model.bin",
                           "codecllm_quantization.json", "codecllm_checksums.json", ".codecllm-journal"})
    dir.write(std::string("model/") + name, R"({"version": 1, "algorithm": "rtn"})");
  converted(model, dir / "bf16", "bf16");
  quantized(dir, model, "int8");
  for (const char* out : {"bf16", "int8"}) {
    std::vector<std::string> names;
    for (const auto& [name, text] : test::files_of(dir / out))
      if (name != "codecllm_quantization.json") names.push_back(name);
    EXPECT_EQ(std::filesystem::exists(dir / out + "/codecllm_quantization.json"), out == std::string("int8"));  // its own
    EXPECT_THAT(names, testing::ElementsAre("LICENSE", "chat_template.jinja", "codecllm_checksums.json", "config.json", "merges.txt", "model.safetensors", "tokenizer.json",
                                            "tokenizer_config.json"))
        << out;
  }
}

// A conversion that was killed is begun anew, whatever it left.
TEST(Convert, NeverGoesOnFromWhatIsThere) {
  const TempDirectory dir;
  const std::string model = model_with_tokenizer(dir);
  converted(model, dir / "whole", "bf16");
  std::filesystem::copy(dir / "whole", dir / "out.partial");
  std::string weights = read_file(dir / "whole/model.safetensors");
  std::fill(weights.begin(), weights.begin() + 200, 'x');  // as long as it should be
  for (const char* journal : {"", "\n", "\n{\"done\":\"model.norm.weight\",\"wrote\":[]}\n"}) {
    std::filesystem::create_directories(dir / "out.partial");
    dir.write("out.partial/model.safetensors", weights);
    dir.write("out.partial/.codecllm-journal", journal);
    converted(model, dir / "out", "bf16");
    EXPECT_EQ(test::difference(dir / "out", dir / "whole"), "");
    std::filesystem::remove_all(dir / "out");
  }
}

}  // namespace
}  // namespace codecllm
