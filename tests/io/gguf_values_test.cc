// SPDX-License-Identifier: Apache-2.0
// Values of GGUF files against those that the gguf package gives them (tools/dump_gguf.py).
#include <gtest/gtest.h>

#include <cstring>

#include "format/ggml.h"
#include "format/plain_float.h"
#include "io/checkpoint.h"
#include "io/packed_reader.h"
#include "io/quant_config.h"
#include "io/support.h"
#include "paths.h"

namespace codecllm {
namespace {

std::string gguf_data(const std::string& name) { return test::source_path("tests/io/data/gguf/" + name); }

// Bits of f32 values; -0 counts as 0.
std::vector<uint32_t> bits_of(std::span<const float> values) {
  std::vector<uint32_t> bits;
  for (float v : values) bits.push_back(std::bit_cast<uint32_t>(v == 0 ? 0.0f : v));
  return bits;
}

std::vector<float> plain_values(const TensorInfo& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.elements()));
  load_floats(tensor.data.data(), 0, tensor.dtype, values);
  return values;
}

TEST(GgufValues, EveryTypeDequantizesToTheSameBits) {
  const GgufFile file(gguf_data("blocks.gguf"));
  const SafetensorsFile expected(gguf_data("blocks.safetensors"));
  ASSERT_EQ(file.tensors().size(), 13u);
  for (const GgufTensor& tensor : file.tensors()) {
    std::vector<float> values(static_cast<size_t>(tensor.elements()));
    dequantize_ggml(tensor.type, tensor.data.data(), values);
    ASSERT_NE(expected.find(tensor.name), nullptr);
    EXPECT_EQ(expected.find(tensor.name)->shape, tensor.shape);
    EXPECT_EQ(bits_of(values), bits_of(plain_values(*expected.find(tensor.name)))) << tensor.name;
  }
}

TEST(GgufValues, QuantizersGiveTheSameBytes) {
  const SafetensorsFile file(gguf_data("quantized.safetensors"));
  const std::vector<float> values = plain_values(*file.find("values"));
  const auto same = [&](const char* name, GgmlBlock (*quantize)(const float*), void (*write)(const GgmlBlock&, void*)) {
    const TensorInfo& expected = *file.find(name);
    std::vector<std::byte> bytes(expected.data.size());
    const size_t size = bytes.size() / (values.size() / 32);
    for (size_t i = 0; i < values.size() / 32; ++i) write(quantize(values.data() + 32 * i), bytes.data() + size * i);
    EXPECT_EQ(std::memcmp(bytes.data(), expected.data.data(), bytes.size()), 0) << name;
  };
  same("q8_0", quantize_q8_0, write_q8_0);
  same("q4_0", quantize_q4_0, write_q4_0);
}

TEST(GgufValues, TypesWithoutADecoderAreRefused) {
  float out[256] = {};
  EXPECT_NE(test::error_of([&] { dequantize_ggml(GgmlType::iq2_s, out, out); }, ErrorCode::unsupported).find("IQ2_S"), std::string::npos);
}

// Names, shapes, the order of q's and k's rows, codes and scales: every tensor is what the package says it is.
TEST(GgufValues, ALlamaIsSeenInHuggingFacesLayout) {
  const Checkpoint checkpoint(gguf_data("llama.gguf"));
  const SafetensorsFile expected(gguf_data("llama.safetensors"));
  const QuantConfig config = QuantConfig::read(checkpoint.config(), checkpoint.config_path());
  int packed = 0;
  for (const TensorInfo& want : expected.tensors()) {
    std::vector<float> got;
    if (const TensorInfo* plain = checkpoint.find(want.name)) {
      EXPECT_EQ(plain->shape, want.shape) << want.name;
      got = plain_values(*plain);
    } else {
      const std::string module = want.name.substr(0, want.name.size() - 7);
      const QuantGroup* group = config.group_for(module);
      ASSERT_NE(group, nullptr) << module;
      const PackedReader reader(packed_tensors(checkpoint, module, *group->scheme.weights), *group->scheme.weights);
      ASSERT_EQ((std::vector<int64_t>{reader.rows(), reader.columns()}), want.shape);
      std::vector<int8_t> codes(static_cast<size_t>(reader.columns()));
      for (int64_t row = 0; row < reader.rows(); ++row) {
        reader.codes(row, codes.data());
        for (int64_t k = 0; k < reader.columns(); ++k) got.push_back(reader.scale(row, k / 32) * static_cast<float>(codes[k]));
      }
      ++packed;
    }
    EXPECT_EQ(bits_of(got), bits_of(plain_values(want))) << want.name;
  }
  EXPECT_EQ(packed, 8);  // q, v, gate and up of two blocks
}

TEST(GgufValues, ConfigIsHuggingFaces) {
  const Json config = Checkpoint(gguf_data("llama.gguf")).config();
  const Json original = read_json_file(test::source_path("tests/model/data/llama/config.json"));
  for (const char* key : {"architectures", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
                          "head_dim", "vocab_size", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "bos_token_id",
                          "eos_token_id", "attention_bias"})
    EXPECT_EQ(config.at(key), original.at(key)) << key;
  EXPECT_EQ(config.at("rope_theta"), 10000.0);
}

TEST(GgufValues, ABlockWithoutScaleIsZeros) {
  GgmlBlock block = {.scale = 0, .codes = {}};
  block.codes[3] = 7;
  uint8_t bytes[34];
  write_q8_0(block, bytes);
  EXPECT_EQ(read_q8_0(bytes).scale, 0);
  float out[32];
  dequantize_ggml(GgmlType::q8_0, bytes, out);
  for (float v : out) EXPECT_EQ(v, 0);
}

}  // namespace
}  // namespace codecllm
