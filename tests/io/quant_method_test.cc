// SPDX-License-Identifier: Apache-2.0
// Checkpoints of GPTQ, AWQ, FP8 and bitsandbytes, made by hand here, mean what their papers' formulas say.
#include <gmock/gmock.h>

#include <span>
#include <map>

#include "base/rng.h"
#include "format/plain_float.h"
#include "io/checkpoint.h"
#include "io/gptq_layout.h"
#include "io/packed.h"
#include "io/packed_tensors.h"
#include "io/quant_config.h"
#include "io/safetensors_writer.h"
#include "io/support.h"

namespace codecllm {
namespace {

using test::error_of;
using test::TempDirectory;
using testing::HasSubstr;

// Tensors with their bytes, and a config, written as a checkpoint.
class Maker {
 public:
  template <class T>
  void put(const std::string& name, DType dtype, std::vector<int64_t> shape, const std::vector<T>& values) {
    const auto bytes = std::as_bytes(std::span(values));
    tensors_[name] = {{name, dtype, std::move(shape)}, {bytes.begin(), bytes.end()}};
  }
  void drop(const std::string& name) { tensors_.erase(name); }

  std::string write(const TempDirectory& dir, const std::string& quantization) const {
    std::vector<TensorData> all;
    for (const auto& [name, tensor] : tensors_) all.push_back({tensor.first, tensor.second});
    write_safetensors(dir / "model.safetensors", all);
    dir.write("config.json", "{\"quantization_config\": " + quantization + "}");
    return dir.path();
  }

 private:
  std::map<std::string, std::pair<TensorDecl, std::vector<std::byte>>> tensors_;
};

constexpr int64_t kOut = 32, kIn = 64, kPer = 16, kCount = kIn / kPer;

// Stored numbers of a layer before packing.
struct Numbers {
  std::vector<int> codes;   // [columns][rows], 0 to 2^bits - 1
  std::vector<int> zeros;   // [groups][rows]
  std::vector<float> scales;  // [groups][rows], exact in F16
  std::vector<int32_t> group_of;  // [columns]
};

Numbers draw(int bits, bool symmetric, bool scattered) {
  Rng rng(7);
  Numbers n;
  for (int64_t i = 0; i < kIn * kOut; ++i) n.codes.push_back(static_cast<int>(rng.next() >> 8 & ((1u << bits) - 1)));
  for (int64_t i = 0; i < kCount * kOut; ++i) {
    n.zeros.push_back(symmetric ? 1 << (bits - 1) : static_cast<int>(rng.next() >> 8 & ((1u << bits) - 1)));
    n.scales.push_back(static_cast<float>(1 + (rng.next() >> 8 & 63)) / 1024.0f);
  }
  for (int64_t k = 0; k < kIn; ++k) n.group_of.push_back(static_cast<int32_t>(scattered ? (k * 5 + 3) % kCount : k / kPer));
  return n;
}

std::vector<uint16_t> halves(const std::vector<float>& values) {
  std::vector<uint16_t> out;
  for (float v : values) out.push_back(f32_to_f16(v));
  return out;
}

// Bit b of the string of `bits`-bit numbers that runs down each of `lanes` columns of words, or along rows of words.
void set_bits(std::vector<int32_t>& words, size_t at, int bits, size_t stride, size_t first, int value) {
  for (int b = 0; b < bits; ++b) {
    const size_t position = at * static_cast<size_t>(bits) + static_cast<size_t>(b);
    words[first + position / 32 * stride] |= static_cast<int32_t>(static_cast<uint32_t>(value >> b & 1) << (position % 32));
  }
}

Maker gptq(const Numbers& n, int bits, bool first_version, bool with_order) {
  std::vector<int32_t> words(kIn * bits / 32 * kOut), zeros(kCount * kOut * bits / 32);
  for (int64_t k = 0; k < kIn; ++k)
    for (int64_t row = 0; row < kOut; ++row) set_bits(words, k, bits, kOut, row, n.codes[k * kOut + row]);
  for (int64_t g = 0; g < kCount; ++g)
    for (int64_t row = 0; row < kOut; ++row)
      set_bits(zeros, row, bits, 1, g * kOut * bits / 32, (n.zeros[g * kOut + row] - (first_version ? 1 : 0)) & ((1 << bits) - 1));
  Maker maker;
  maker.put("m.qweight", DType::i32, {kIn * bits / 32, kOut}, words);
  maker.put("m.qzeros", DType::i32, {kCount, kOut * bits / 32}, zeros);
  maker.put("m.scales", DType::f16, {kCount, kOut}, halves(n.scales));
  if (with_order) maker.put("m.g_idx", DType::i32, {kIn}, n.group_of);
  maker.put("norm.weight", DType::f32, {2}, std::vector<float>{1, 2});
  return maker;
}

Maker awq(const Numbers& n) {
  static constexpr int kOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};
  const auto pack = [](const std::vector<int>& values) {
    std::vector<int32_t> words(values.size() / 8);
    for (size_t c = 0; c < words.size(); ++c)
      for (size_t i = 0; i < 8; ++i) words[c] |= static_cast<int32_t>(static_cast<uint32_t>(values[8 * c + kOrder[i]]) << (4 * i));
    return words;
  };
  Maker maker;
  maker.put("m.qweight", DType::i32, {kIn, kOut / 8}, pack(n.codes));
  maker.put("m.qzeros", DType::i32, {kCount, kOut / 8}, pack(n.zeros));
  maker.put("m.scales", DType::f16, {kCount, kOut}, halves(n.scales));
  return maker;
}

// The translated layer equals w = scale * (code - zero), number by number.
void expect_layer(const Checkpoint& checkpoint, const Numbers& n, int bits, bool symmetric, bool scattered) {
  const QuantConfig config = QuantConfig::read(checkpoint.config(), checkpoint.config_path());
  const QuantGroup* group = config.group_for("m");
  ASSERT_NE(group, nullptr);
  EXPECT_EQ(group->scheme.weights->symmetric, symmetric);
  EXPECT_EQ(group->scheme.weights->num_bits, bits);
  EXPECT_EQ(group->group_order, scattered);
  const PackedTensors tensors = packed_tensors(checkpoint, "m", *group->scheme.weights, group->group_order);
  ASSERT_EQ(tensors.rows, kOut);
  ASSERT_EQ(tensors.columns, kIn);
  std::vector<int8_t> codes(kIn), zeros(kOut * kCount, 0);
  if (!symmetric) unpack_zero_points(tensors.zero_points->data.data(), kOut, kCount, bits, Packing::dense, zeros.data());
  if (scattered) {
    EXPECT_EQ(std::memcmp(tensors.group_of_column->data.data(), n.group_of.data(), kIn * 4), 0);
  }
  for (int64_t row = 0; row < kOut; ++row) {
    unpack_row(tensors.codes->data.data() + row * tensors.codes->shape[1] * 4, 0, kIn, bits, Packing::dense, codes.data());
    for (int64_t k = 0; k < kIn; ++k) {
      const int64_t g = n.group_of[k];
      const float expected = n.scales[g * kOut + row] * static_cast<float>(n.codes[k * kOut + row] - n.zeros[g * kOut + row]);
      const float got = load_float(tensors.scales->data.data(), row * kCount + g, DType::f16) * static_cast<float>(codes[k] - zeros[row * kCount + g]);
      ASSERT_EQ(got, expected) << row << " " << k;
    }
  }
}

TEST(QuantMethod, GptqOfAllBitsBothVersions) {
  for (int bits : {2, 3, 4, 8})
    for (bool first : {true, false})
      for (bool symmetric : {true, false})
        for (bool scattered : {false, true}) {
          const TempDirectory dir;
          const Numbers n = draw(bits, symmetric, scattered);
          const std::string config = R"({"quant_method": "gptq", "bits": )" + std::to_string(bits) + R"(, "group_size": 16, "sym": )" +
                                     (symmetric ? "true" : "false") + R"(, "checkpoint_format": ")" + (first ? "gptq" : "gptq_v2") + "\"}";
          const Checkpoint checkpoint(gptq(n, bits, first, scattered).write(dir, config));
          EXPECT_NE(checkpoint.find("norm.weight"), nullptr);
          EXPECT_EQ(checkpoint.find("m.qweight"), nullptr);
          EXPECT_TRUE(checkpoint.notes().empty());
          expect_layer(checkpoint, n, bits, symmetric, scattered);
        }
}

TEST(QuantMethod, GptqWordsOfTheFormat) {
  const std::vector<int8_t> zeros(8, 0);
  uint32_t word = 0;
  gptq_pack_zeros(zeros.data(), 8, 1, 4, true, &word);
  EXPECT_EQ(word, 0x77777777u);
  gptq_pack_zeros(zeros.data(), 8, 1, 4, false, &word);
  EXPECT_EQ(word, 0x88888888u);
  gptq_pack_zeros(zeros.data(), 4, 1, 8, true, &word);
  EXPECT_EQ(word, 0x7F7F7F7Fu);
}

TEST(QuantMethod, AwqWordOfTheFormat) {
  std::vector<int8_t> values, again(8);
  for (int i = 0; i < 8; ++i) values.push_back(static_cast<int8_t>(i - 8));
  uint32_t word = 0;
  awq_pack(values.data(), 8, 1, &word);
  EXPECT_EQ(word, 0x75316420u);
  awq_unpack(&word, 8, 1, again.data());
  EXPECT_EQ(again, values);
}

TEST(QuantMethod, LayoutsComeBack) {
  Rng rng(3);
  for (int bits : {2, 3, 4, 8}) {
    std::vector<int8_t> codes(32 * 64), again(codes.size());
    for (int8_t& code : codes) code = static_cast<int8_t>(static_cast<int>(rng.next() >> 8 & ((1u << bits) - 1)) - (1 << (bits - 1)));
    std::vector<uint32_t> words(codes.size() * static_cast<size_t>(bits) / 32);
    gptq_pack(codes.data(), 32, 64, bits, words.data());
    gptq_unpack(words.data(), 32, 64, bits, again.data());
    EXPECT_EQ(again, codes);
    for (bool less_one : {false, true}) {
      gptq_pack_zeros(codes.data(), 32, 64, bits, less_one, words.data());
      gptq_unpack_zeros(words.data(), 32, 64, bits, less_one, again.data());
      EXPECT_EQ(again, codes);
    }
    if (bits != 4) continue;
    awq_pack(codes.data(), 32, 64, words.data());
    awq_unpack(words.data(), 32, 64, again.data());
    EXPECT_EQ(again, codes);
  }
}

TEST(QuantMethod, Awq) {
  const TempDirectory dir;
  const Numbers n = draw(4, false, false);
  expect_layer(Checkpoint(awq(n).write(dir, R"({"quant_method": "awq", "bits": 4, "group_size": 16, "zero_point": true, "version": "gemm"})")), n, 4,
               false, false);
}

TEST(QuantMethod, SymWithOtherZerosIsNoted) {
  const TempDirectory dir;
  const Checkpoint checkpoint(gptq(draw(4, false, false), 4, true, false).write(dir, R"({"quant_method": "gptq", "bits": 4, "group_size": 16, "sym": true})"));
  ASSERT_EQ(checkpoint.notes().size(), 1u);
  EXPECT_THAT(checkpoint.notes()[0].text, HasSubstr("1 layers have zero points that are not the middle"));
}

TEST(QuantMethod, TheOtherVersionIsNoted) {
  for (bool first : {true, false}) {
    const TempDirectory dir;
    const std::string told = first ? "gptq_v2" : "gptq";
    const Checkpoint checkpoint(gptq(draw(4, true, false), 4, first, false)
                                    .write(dir, R"({"quant_method": "gptq", "bits": 4, "group_size": 16, "sym": true, "checkpoint_format": ")" + told + "\"}"));
    ASSERT_EQ(checkpoint.notes().size(), 1u);
    EXPECT_THAT(checkpoint.notes()[0].text, HasSubstr("other version of GPTQ"));
    EXPECT_THAT(checkpoint.notes()[0].remedy, HasSubstr(first ? "checkpoint_format to gptq " : "checkpoint_format to gptq_v2"));
  }
}

TEST(QuantMethod, ZeroPointsOfGptqsRuleInAwqAreNoted) {
  const TempDirectory dir;
  Numbers n = draw(4, true, false);
  for (int& zero : n.zeros) zero = 7;
  const Checkpoint checkpoint(awq(n).write(dir, R"({"quant_method": "awq", "bits": 4, "group_size": 16})"));
  ASSERT_EQ(checkpoint.notes().size(), 1u);
  EXPECT_THAT(checkpoint.notes()[0].text, HasSubstr("every zero point is 7"));
}

TEST(QuantMethod, LayersMayDiffer) {
  for (const std::string rule : {R"("m": {"bits": 4})", R"("+:m$": {"bits": 4, "group_size": 16})", R"("-:norm": {}, "+:m": {"bits": 4}, "other": {"bits": 2})"}) {
    const TempDirectory dir;
    const Numbers n = draw(4, true, false);
    expect_layer(Checkpoint(gptq(n, 4, true, false).write(
                     dir, R"({"quant_method": "gptq", "bits": 8, "group_size": 16, "sym": true, "dynamic": {)" + rule + "}}")), n, 4, true, false);
  }
}

// Before config.json had a place for them.
TEST(QuantMethod, SettingsInAFileOfTheirOwn) {
  const Numbers n = draw(4, false, true), even = draw(4, false, false);
  {
    const TempDirectory dir;
    gptq(n, 4, true, true).write(dir, "null");
    EXPECT_THAT(error_of([&] { Checkpoint checkpoint(dir.path()); }), HasSubstr("neither config.json nor quantize_config.json"));
    dir.write("quantize_config.json", R"({"bits": 4, "group_size": 16, "desc_act": true, "sym": false})");
    expect_layer(Checkpoint(dir.path()), n, 4, false, true);
  }
  const TempDirectory dir;
  awq(even).write(dir, "null");
  dir.write("quant_config.json", R"({"zero_point": true, "q_group_size": 16, "w_bit": 4, "version": "GEMM"})");
  expect_layer(Checkpoint(dir.path()), even, 4, false, false);
}

// Codes, scales and zero points in different files.
TEST(QuantMethod, SeveralFiles) {
  const TempDirectory dir;
  const Numbers n = draw(4, false, true);
  gptq(n, 4, true, true).write(dir, R"({"quant_method": "gptq", "bits": 4, "group_size": 16})");
  const SafetensorsFile whole(dir / "model.safetensors");
  Json map = Json::object();
  std::map<std::string, std::vector<TensorData>> files;
  int at = 0;
  for (const TensorInfo& tensor : whole.tensors()) {
    const std::string file = "model-0000" + std::to_string(at++ % 3 + 1) + "-of-00003.safetensors";
    map[tensor.name] = file;
    files[file].push_back({{tensor.name, tensor.dtype, tensor.shape}, tensor.data});
  }
  for (const auto& [file, tensors] : files) write_safetensors(dir / file, tensors);
  dir.write("model.safetensors.index.json", dump_json(Json({{"metadata", Json::object()}, {"weight_map", map}})));
  std::filesystem::remove(dir / "model.safetensors");
  expect_layer(Checkpoint(dir.path()), n, 4, false, true);
}

TEST(QuantMethod, Float8LayersThatWereLeftOut) {
  const TempDirectory dir;
  Maker maker;
  maker.put("m.weight", DType::f8_e4m3, {2, 2}, std::vector<uint8_t>{0x38, 0x7E, 1, 0});
  maker.put("m.weight_scale", DType::f32, {}, std::vector<float>{0.5f});
  maker.put("m.input_scale", DType::f32, {}, std::vector<float>{0.25f});
  maker.put("attn.k_scale", DType::f32, {}, std::vector<float>{2.0f});
  maker.put("left.weight", DType::bf16, {2, 2}, std::vector<uint16_t>{1, 2, 3, 4});
  const Checkpoint checkpoint(maker.write(
      dir, R"({"quant_method": "fp8", "activation_scheme": "static", "ignored_layers": ["left"], "kv_cache_scheme": {"num_bits": 8}})"));
  const QuantConfig config = QuantConfig::read(checkpoint.config(), "f");
  EXPECT_EQ(config.group_for("left"), nullptr);
  EXPECT_EQ(checkpoint.need("left.weight").dtype, DType::bf16);
  const QuantScheme scheme = *config.scheme_for("m");
  EXPECT_FALSE(scheme.activations->dynamic);
  EXPECT_EQ(scheme.activations->strategy, Strategy::tensor);
  EXPECT_EQ(packed_tensors(checkpoint, "m", *scheme.weights).rows, 2);
  EXPECT_NE(checkpoint.find("attn.k_scale"), nullptr);
}

TEST(QuantMethod, BitsAndBytes) {
  const TempDirectory dir;
  Maker maker;
  maker.put("m.weight", DType::i8, {2, 4}, std::vector<int8_t>{-127, 0, 5, 127, 1, 2, 3, -128});
  maker.put("m.SCB", DType::f32, {2}, std::vector<float>{2.0f, 0.0f});
  maker.put("m.weight_format", DType::u8, {}, std::vector<uint8_t>{0});
  const std::string config = R"({"quant_method": "bitsandbytes", "load_in_8bit": true, "llm_int8_threshold": 6.0})";
  const Checkpoint checkpoint(maker.write(dir, config));
  EXPECT_EQ(checkpoint.find("m.weight_format"), nullptr);
  EXPECT_EQ(QuantConfig::read(checkpoint.config(), "f").groups()[0].format, "int-quantized");
  int8_t codes[8];
  ASSERT_EQ(checkpoint.need("m.weight").data.size(), sizeof codes);
  std::memcpy(codes, checkpoint.need("m.weight").data.data(), sizeof codes);
  EXPECT_THAT(codes, testing::ElementsAre(-127, 0, 5, 127, 1, 2, 3, -128));
  EXPECT_EQ(load_float(checkpoint.need("m.weight_scale").data.data(), 0, DType::f32), 2.0f / 127);
  EXPECT_GT(load_float(checkpoint.need("m.weight_scale").data.data(), 1, DType::f32), 0);
  const auto inputs = [](const Checkpoint& c) { return *QuantConfig::read(c.config(), "f").scheme_for("m")->activations; };
  EXPECT_EQ(inputs(checkpoint).strategy, Strategy::token);
  EXPECT_EQ(inputs(checkpoint).outliers, (OutlierArgs{.threshold = 6, .stored = false}));
  const Checkpoint all_bytes(maker.write(dir, R"({"quant_method": "bitsandbytes", "load_in_8bit": true, "llm_int8_threshold": 0.0})"));
  EXPECT_EQ(inputs(all_bytes).outliers, std::nullopt);
  maker.put("m.weight_format", DType::u8, {}, std::vector<uint8_t>{2});
  EXPECT_THAT(error_of([&] { Checkpoint bad(maker.write(dir, config)); }), HasSubstr("order of a GPU's units"));
}

TEST(QuantMethod, Float8KeepsItsBytes) {
  const TempDirectory dir;
  Maker maker;
  maker.put("m.weight", DType::f8_e4m3, {2, 2}, std::vector<uint8_t>{0x38, 0x7E, 1, 0});
  maker.put("m.weight_scale_inv", DType::f32, {1, 1}, std::vector<float>{0.5f});
  const Checkpoint checkpoint(maker.write(dir, R"({"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"})"));
  EXPECT_EQ(checkpoint.need("m.weight").data.size(), 4u);
  EXPECT_EQ(load_float(checkpoint.need("m.weight_scale").data.data(), 0, DType::f32), 0.5f);
  const QuantScheme scheme = *QuantConfig::read(checkpoint.config(), "f").scheme_for("m");
  EXPECT_EQ(scheme.weights->strategy, Strategy::block);
  EXPECT_EQ(scheme.activations->group_size, 128);
}

TEST(QuantMethod, WhatDoesNotFitIsRefused) {
  const std::string settings = R"({"quant_method": "gptq", "bits": 4, "group_size": 16})";
  const auto refusal = [&](const std::function<void(Maker&)>& change, const std::string& config, ErrorCode code = ErrorCode::bad_input) {
    const TempDirectory dir;
    Maker maker = gptq(draw(4, true, true), 4, true, true);
    change(maker);
    return error_of([&] { Checkpoint checkpoint(maker.write(dir, config)); }, code);
  };
  const auto same = [](Maker&) {};
  EXPECT_THAT(refusal(same, R"({"quant_method": "gptq", "bits": 8, "group_size": 16})"), HasSubstr("is bits or group_size wrong?"));
  EXPECT_THAT(refusal(same, R"({"quant_method": "gptq", "bits": 4, "group_size": 24})"), HasSubstr("64 inputs are not whole groups of 24"));
  EXPECT_THAT(refusal(same, R"({"quant_method": "gptq", "bits": 4, "group_size": 0})"), HasSubstr("group_size is 0"));
  EXPECT_THAT(refusal(same, R"({"quant_method": "gptq", "bits": 5, "group_size": 16})", ErrorCode::unsupported), HasSubstr("5 bits"));
  EXPECT_THAT(refusal(same, R"({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"})", ErrorCode::unsupported), HasSubstr("'marlin'"));
  EXPECT_THAT(refusal(same, R"({"quant_method": "gptq", "bits": 4, "group_size": 16, "dynamic": {"m": {"bits": 8}, ".": {"bits": 2}}})", ErrorCode::unsupported),
              HasSubstr("two entries of 'dynamic' fit 'm'"));
  EXPECT_THAT(refusal(same, R"({"quant_method": "gptq", "bits": 4, "group_size": 16, "dynamic": {"m": {"bits": 6}}})", ErrorCode::unsupported), HasSubstr("6 bits"));
  EXPECT_THAT(refusal(same, R"({"quant_method": "gptq", "bits": 4, "group_size": 16, "dynamic": {"m": 8}})"), HasSubstr("dynamic"));
  EXPECT_THAT(refusal(same, R"({"quant_method": "gptq", "bits": 4, "group_size": 16, "dynamic": {"(": {}}})"), HasSubstr("regular expression"));
  EXPECT_THAT(refusal([](Maker& m) { m.drop("m.scales"); }, settings), HasSubstr("m.scales"));
  EXPECT_THAT(refusal([](Maker& m) { m.drop("m.qzeros"); }, settings), HasSubstr("m.qzeros"));
  EXPECT_THAT(refusal([](Maker& m) { m.put("m.g_idx", DType::i32, {kIn}, std::vector<int32_t>(kIn, 4)); }, settings), HasSubstr("names group 4 of 4"));
  EXPECT_THAT(refusal([](Maker& m) { m.put("m.g_idx", DType::i32, {kIn}, std::vector<int32_t>(kIn, -1)); }, settings), HasSubstr("names group -1 of 4"));
  EXPECT_THAT(refusal([](Maker& m) { m.put("m.qweight", DType::i32, {0, 8}, std::vector<int32_t>()); }, settings), HasSubstr("is not a matrix of type I32"));
  EXPECT_THAT(refusal(same, R"({"quant_method": "awq", "bits": 3})", ErrorCode::unsupported), HasSubstr("AWQ of 3 bits"));
  EXPECT_THAT(refusal(same, R"({"quant_method": "awq", "version": "gemv"})", ErrorCode::unsupported), HasSubstr("'gemv'"));
  EXPECT_THAT(refusal(same, R"({"quant_method": "bitsandbytes", "load_in_4bit": true})", ErrorCode::unsupported), HasSubstr("only LLM.int8()"));
  EXPECT_THAT(refusal(same, R"({"quant_method": "fp8", "weight_block_size": [0, 1]})"), HasSubstr("weight_block_size"));
}

}  // namespace
}  // namespace codecllm
