// SPDX-License-Identifier: Apache-2.0
// Zero points, activation order and 8-bit floats into every layout: bit by bit where it can hold them, else off by what is
// said.
#include <gmock/gmock.h>

#include <algorithm>

#include "base/rng.h"
#include "quant/calibrated.h"
#include "quant/convert_encode.h"
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
using testing::Contains;
using testing::HasSubstr;

Json quantization_of(const std::string& model) { return read_json_file(model + "/config.json").at("quantization_config"); }

// Converts, and checks that the result is what was told; every directory is named after its layout.
ConvertResult convert_and_check(const std::string& from, const std::string& to, const std::string& format, const std::string& type = "auto") {
  SCOPED_TRACE(to);
  const ConvertResult result = converted(from, to, format, type);
  expect_as_told(result, from, to);
  return result;
}

TEST(ConvertSchemes, ZeroPointsAreKeptWhereThereIsRoom) {
  const TempDirectory dir;
  const std::string source = quantized(dir, model_with_tokenizer(dir), "int4-g32-asym");
  EXPECT_EQ(convert_and_check(source, dir / "gptq", "gptq").requantized(), 0);
  EXPECT_EQ(quantization_of(dir / "gptq")["sym"], false);
  EXPECT_EQ(quantization_of(dir / "gptq")["checkpoint_format"], "gptq_v2");  // has room for a zero point of 0
  EXPECT_EQ(quantization_of(dir / "gptq")["desc_act"], false);
  EXPECT_EQ(convert_and_check(source, dir / "awq", "awq").requantized(), 0);
  EXPECT_EQ(convert_and_check(dir / "gptq", dir / "gptq to awq", "awq").requantized(), 0);
  const ConvertResult back = convert_and_check(dir / "awq", dir / "ct", "compressed-tensors");
  EXPECT_EQ(back.requantized(), 0);
  EXPECT_THAT(back.notes, Contains(HasSubstr("dequantize=True")));
  EXPECT_EQ(convert_and_check(source, dir / "m.gguf", "gguf").requantized(), 0);  // F32
  EXPECT_EQ(convert_and_check(source, dir / "q4.gguf", "gguf", "q4_0").requantized(), 15);  // lm_head too
  EXPECT_EQ(convert_and_check(source, dir / "fp8", "fp8-block").requantized(), 14);
  EXPECT_EQ(convert_and_check(source, dir / "bf16", "bf16").requantized(), 14);
  EXPECT_EQ(convert_and_check(quantized(dir, dir / "model", "int8-asym"), dir / "gptq8", "gptq").requantized(), 0);
}

// A GPTQ model whose groups are scattered columns.
std::string ordered_model(const TempDirectory& dir) {
  const std::string path = dir / "ordered";
  converted(quantized(dir, model_with_tokenizer(dir), "int4-g32-asym"), path, "gptq");
  test::Tensors tensors;
  const SafetensorsFile file(path + "/model.safetensors");
  for (const TensorInfo& tensor : file.tensors())
    tensors[tensor.name] = {{tensor.name, tensor.dtype, tensor.shape}, {tensor.data.begin(), tensor.data.end()}};
  for (auto& [name, tensor] : tensors) {
    if (!name.ends_with(".g_idx")) continue;
    const size_t n = tensor.data.size() / 4, groups = n / 32;
    std::vector<int32_t> scattered(n);
    for (size_t k = 0; k < n; ++k) scattered[k] = static_cast<int32_t>((k * 7 + 1) % groups);
    std::memcpy(tensor.data.data(), scattered.data(), tensor.data.size());
  }
  test::write_tensors(path + "/model.safetensors", tensors);
  return path;
}

TEST(ConvertSchemes, ActivationOrderIsKeptByGptq) {
  const TempDirectory dir;
  const std::string source = ordered_model(dir);
  EXPECT_EQ(convert_and_check(source, dir / "again", "gptq").requantized(), 0);
  EXPECT_EQ(quantization_of(dir / "again")["desc_act"], true);
  const SafetensorsFile before(source + "/model.safetensors"), after(dir / "again/model.safetensors");
  for (const TensorInfo& tensor : before.tensors()) EXPECT_TRUE(std::ranges::equal(tensor.data, after.find(tensor.name)->data)) << tensor.name;
  const ConvertResult told = convert_and_check(source, dir / "ct", "compressed-tensors");
  EXPECT_EQ(told.requantized(), 0);
  EXPECT_THAT(told.notes, Contains(HasSubstr("refuse activation order")));
  EXPECT_EQ(convert_and_check(dir / "ct", dir / "and back", "gptq").requantized(), 0);
  EXPECT_EQ(convert_and_check(source, dir / "m.gguf", "gguf").requantized(), 0);
  EXPECT_EQ(convert_and_check(source, dir / "awq", "awq").requantized(), 14);
  EXPECT_EQ(convert_and_check(source, dir / "fp8", "fp8-block").requantized(), 14);
}

TEST(ConvertSchemes, ScatteredGroupsMaySplit) {
  const TempDirectory dir;
  const Checkpoint checkpoint(ordered_model(dir));
  const ModelSpec spec = read_spec(checkpoint);
  const SourceLinear source(checkpoint, QuantConfig::read(checkpoint.config(), "config.json"), spec.linears().front());
  ASSERT_FALSE(source.order().empty());
  const EncodedLinear encoded = encode_linear(two_threads(), source, {.bits = 4, .group = 16, .zeros = true, .order = true});
  EXPECT_TRUE(encoded.change.exact);
  std::vector<float> values(static_cast<size_t>(encoded.columns));
  for (int64_t row = 0; row < encoded.rows; ++row) {
    source.values(row, values);
    for (int64_t k = 0; k < encoded.columns; ++k) {
      const auto column = static_cast<size_t>(encoded.order[static_cast<size_t>(k)]), at = static_cast<size_t>(row * encoded.groups() + k / 16);
      EXPECT_EQ(values[column], encoded.scales[at] * static_cast<float>(encoded.codes[static_cast<size_t>(row * encoded.columns) + column] - encoded.zeros[at]));
    }
  }
}

// Matrices of several blocks, the last of them ragged.
std::string model_of_blocks(const TempDirectory& dir) {
  Json config = read_json_file(test::model_data("llama-bf16") + "/config.json");
  config["intermediate_size"] = 200;
  const std::string path = model_with_tokenizer(dir);
  write_file_atomically(path + "/config.json", dump_json(OrderedJson(config), 1));
  test::Tensors tensors = test::read_tensors(path);
  Rng rng(3);
  for (const std::string layer : {"0", "1"})
    for (const std::string name : {"gate_proj", "up_proj", "down_proj"}) {
      const std::string full = "model.layers." + layer + ".mlp." + name + ".weight";
      const std::vector<int64_t> shape = name == "down_proj" ? std::vector<int64_t>{64, 200} : std::vector<int64_t>{200, 64};
      std::vector<float> values(200 * 64);
      for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(static_cast<int>(rng.next() % 2001) - 1000) / (i % 7 == 0 ? 900.0f : 9000.0f);
      tensors[full] = test::make_tensor(full, DType::bf16, shape, values);
    }
  test::write_tensors(path + "/model.safetensors", tensors);
  return path;
}

TEST(ConvertSchemes, Float8BlocksComeAndGo) {
  const TempDirectory dir;
  const std::string model = model_of_blocks(dir), blocks = quantized(dir, model, "fp8-block");
  const ConvertResult result = convert_and_check(blocks, dir / "deepseek", "fp8-block");
  EXPECT_EQ(result.requantized(), 0);
  const Json config = quantization_of(dir / "deepseek");
  EXPECT_EQ(config["quant_method"], "fp8");
  EXPECT_EQ(config["weight_block_size"], Json({128, 128}));
  const SafetensorsFile file(dir / "deepseek/model.safetensors");
  EXPECT_EQ(file.find("model.layers.0.mlp.up_proj.weight_scale_inv")->shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(file.find("model.layers.0.mlp.down_proj.weight_scale_inv")->shape, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(convert_and_check(dir / "deepseek", dir / "ct", "compressed-tensors").requantized(), 0);
  EXPECT_EQ(convert_and_check(dir / "deepseek", dir / "again", "fp8-block").requantized(), 0);
  // Plain weights: what quantize makes of them, but for scales in F32.
  EXPECT_EQ(convert_and_check(model, dir / "new", "fp8-block").requantized(), 14);
  EXPECT_EQ(convert_and_check(quantized(dir, model, "fp8"), dir / "of one scale", "fp8-block").requantized(), 0);
  EXPECT_EQ(convert_and_check(quantized(dir, model, "fp8-channel"), dir / "of rows", "fp8-block").requantized(), 14);
}

TEST(ConvertSchemes, Float8IntoIntegersIsRoundedAgain) {
  const TempDirectory dir;
  const std::string source = quantized(dir, model_with_tokenizer(dir), "fp8");
  test::Tensors tensors = test::read_tensors(source);
  for (const std::string name : {"model.layers.0.self_attn.k_scale", "model.layers.0.self_attn.k_proj.output_scale"})
    tensors[name] = test::make_tensor(name, DType::f32, {1}, {0.5f});  // of a KV cache: no layout but its own has them
  test::write_tensors(source + "/model.safetensors", tensors);
  const ConvertResult result = convert_and_check(source, dir / "gptq", "gptq");
  EXPECT_EQ(result.requantized(), 14);
  EXPECT_THAT(result.notes, Contains(HasSubstr("no quantized activations")));
  EXPECT_EQ(quantization_of(dir / "gptq")["bits"], 8);
  EXPECT_EQ(quantization_of(dir / "gptq")["group_size"], 32);
  EXPECT_EQ(convert_and_check(source, dir / "awq", "awq").requantized(), 14);
  EXPECT_EQ(convert_and_check(source, dir / "m.gguf", "gguf").requantized(), 0);
  EXPECT_EQ(convert_and_check(source, dir / "q8.gguf", "gguf", "q8_0").requantized(), 15);
  EXPECT_EQ(convert_and_check(source, dir / "codecllm", "codecllm").requantized(), 0);
}

TEST(ConvertSchemes, EightBitsIntoFourGetGroups) {
  const TempDirectory dir;
  EXPECT_EQ(convert_and_check(quantized(dir, model_with_tokenizer(dir), "int8"), dir / "awq", "awq").requantized(), 14);
  EXPECT_EQ(quantization_of(dir / "awq")["group_size"], 32);
}

TEST(ConvertSchemes, TheOldNameOfTheConfigIsKept) {
  const TempDirectory dir;
  const std::string source = quantized(dir, model_with_tokenizer(dir), "int8");
  OrderedJson config = read_ordered_json_file(source + "/config.json");
  config["compression_config"] = config["quantization_config"];
  config.erase("quantization_config");
  write_file_atomically(source + "/config.json", dump_json(config));
  EXPECT_EQ(convert_and_check(source, dir / "ct", "compressed-tensors").requantized(), 0);
  EXPECT_EQ(quantization_of(dir / "ct")["quant_method"], "compressed-tensors");
}

// Columns that llm-int8 keeps in 16 bits stand beside codes of zero: both together are the weight.
TEST(ConvertSchemes, ColumnsInSixteenBitsGoAlong) {
  const test::TempDirectory dir;
  test::calibrated_model(dir, "llama-bf16");
  const std::string model = dir / "m", source = dir / "llm";
  QuantizeOptions options = {.scheme = scheme_preset("llm-int8")};
  options.scheme.activations->outliers->threshold = 2;  // of a random model's inputs some are larger
  options.algorithm.calibration = test::few_samples(dir);
  quantize_checkpoint(test::two_threads(), model, source, options);
  std::filesystem::copy_file(model_with_tokenizer(dir) + "/tokenizer.json", source + "/tokenizer.json", std::filesystem::copy_options::overwrite_existing);
  size_t kept = 0;
  const Checkpoint written(source);
  for (const TensorInfo* tensor : written.tensors()) kept += tensor->name.ends_with(".outlier_columns") ? static_cast<size_t>(tensor->elements()) : 0;
  ASSERT_GT(kept, 0u);
  const auto original = test::all_values(model), values = test::all_values(source);
  for (const auto& [name, before] : original)
    for (size_t i = 0; i < before.size(); ++i) ASSERT_NEAR(values.at(name)[i], before[i], 0.01) << name << " " << i;
  for (const std::string format : {"gptq", "awq", "gguf", "bf16", "fp8-block"}) {
    const ConvertResult result = convert_and_check(source, dir / ("x." + format), format);
    EXPECT_EQ(result.requantized() > 0, format != "gguf") << format;  // F32 there
  }
  EXPECT_EQ(convert_and_check(source, dir / "codecllm", "codecllm").requantized(), 0);
  EXPECT_EQ(Checkpoint(dir / "codecllm").config().at("quantization_config").at("version"), 2);
  test::error_of([&] { test::converted(source, dir / "ct", "compressed-tensors"); }, ErrorCode::unsupported);
}

TEST(ConvertSchemes, WhatOthersWillMakeOfItIsTold) {
  const TempDirectory dir;
  const std::string model = model_with_tokenizer(dir), int8 = quantized(dir, model, "int8"), outliers = quantized(dir, model, "llm-int8");
  EXPECT_THAT(converted(int8, dir / "own", "codecllm").notes, Contains(HasSubstr("only codecllm loads")));
  EXPECT_EQ(quantization_of(dir / "own")["version"], 1);
  // LLM.int8() without columns is W8A8 to others.
  const ConvertResult plain = convert_and_check(outliers, dir / "w8a8", "compressed-tensors");
  EXPECT_EQ(plain.requantized(), 0);
  EXPECT_THAT(plain.notes, Contains(HasSubstr("plain W8A8")));
  const Json quantization = quantization_of(dir / "w8a8");
  EXPECT_EQ(quantization["quant_method"], "compressed-tensors");
  EXPECT_EQ(QuantConfig::read(read_json_file(dir / "w8a8/config.json"), "").groups().front().scheme, scheme_preset("w8a8"));
  EXPECT_FALSE(quantization.contains("version"));
  converted(outliers, dir / "own outliers", "codecllm");
  EXPECT_EQ(quantization_of(dir / "own outliers")["version"], 2);
  // Activations that this layout rounds otherwise.
  for (const char* scheme : {"int8", "fp8", "fp8-block"}) {
    const ConvertResult blocks = converted(scheme == std::string("int8") ? int8 : quantized(dir, model, scheme), dir / (std::string(scheme) + "-blocks"), "fp8-block");
    EXPECT_EQ(std::any_of(blocks.notes.begin(), blocks.notes.end(), [](const std::string& note) { return note.find("activations are rounded") != note.npos; }),
              scheme != std::string("fp8-block")) << scheme;
  }
  EXPECT_THAT(converted(quantized(dir, model, "int4-g32-asym"), dir / "gptq", "gptq").notes, Contains(HasSubstr("one step off")));
  // Layers that were left in 16 bits.
  QuantizeOptions but_down = {.scheme = scheme_preset("int4-g32"), .selection = {.only = {}, .ignore = {"*down_proj"}}};
  quantize_checkpoint(two_threads(), model, dir / "but down", but_down);
  for (const char* format : {"gptq", "awq", "fp8-block"}) {
    const ConvertResult all = converted(dir / "but down", dir / (std::string(format) + " of all"), format);
    EXPECT_THAT(all.notes, Contains(HasSubstr("2 layers (model.layers.0.mlp.down_proj is the first) had more bits"))) << format;
    const ConvertResult alike = converted(quantized(dir, model, "int4-g32"), dir / (std::string(format) + " alike"), format);
    EXPECT_THAT(alike.notes, testing::Not(Contains(HasSubstr("had more bits")))) << format;
    std::filesystem::remove_all(dir / "int4-g32");
    EXPECT_THAT(converted(model, dir / (std::string(format) + " of plain"), format).notes, testing::Not(Contains(HasSubstr("had more bits")))) << format;
  }
}

TEST(ConvertSchemes, WhatCannotBeToldIsRefused) {
  const TempDirectory dir;
  const std::string model = model_with_tokenizer(dir), coded = quantized(dir, model, "int8-coded");
  EXPECT_THAT(error_of([&] { converted(coded, dir / "x", "gptq"); }, ErrorCode::unsupported), HasSubstr("entropy-coded"));
  EXPECT_THAT(error_of([&] { converted(coded, dir / "x", "compressed-tensors"); }, ErrorCode::unsupported), HasSubstr("entropy-coded"));
  const std::string w8a8 = quantized(dir, model, "w8a8");
  OrderedJson config = read_ordered_json_file(w8a8 + "/config.json");
  config.erase("quantization_config");
  write_file_atomically(w8a8 + "/config.json", dump_json(config));
  EXPECT_THAT(error_of([&] { converted(w8a8, dir / "x", "bf16"); }), HasSubstr("config.json does not say how it is quantized"));
  // NaN among codes of floats
  const std::string fp8 = quantized(dir, model, "fp8");
  test::Tensors tensors = test::read_tensors(fp8);
  tensors.at("model.layers.1.mlp.up_proj.weight").data[5] = std::byte{0x7f};
  test::write_tensors(fp8 + "/model.safetensors", tensors);
  for (const std::string format : {"fp8-block", "gptq", "awq"})
    EXPECT_THAT(error_of([&] { converted(fp8, dir / "x", format); }), HasSubstr("hold NaN or infinity")) << format;
  EXPECT_FALSE(std::filesystem::exists(dir / "x"));
  EXPECT_FALSE(std::filesystem::exists(dir / "x.partial"));
}

}  // namespace
}  // namespace codecllm
