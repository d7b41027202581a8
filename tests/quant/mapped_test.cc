// SPDX-License-Identifier: Apache-2.0
// Models whose weights stay in their files: the same logits, bit for bit, whatever the scheme or the program that wrote them.
#include <gmock/gmock.h>

#include <set>

#include "model/decode_cache.h"
#include "model/forward.h"
#include "quant/calibrated.h"
#include "quant/convert_support.h"

namespace codecllm {
namespace {

using ::testing::HasSubstr;
using test::TempDirectory;
using test::two_threads;

std::vector<float> logits_of(const DecoderModel& model) {
  KvCache cache(model.spec, KvType::f16, 64);
  KvSequence sequence;
  Forward forward(model, cache);
  std::vector<float> out;
  for (const int64_t count : {5, 1}) {
    std::vector<BatchRow> rows;
    const int64_t from = sequence.length;
    cache.grow(sequence, count);
    for (int64_t i = 0; i < count; ++i) rows.push_back({static_cast<int32_t>(3 + (from + i) * 7), &sequence, from + i, true});
    const auto logits = forward.run(rows);
    out.insert(out.end(), logits.begin(), logits.end());
  }
  return out;
}

// What stays in memory is the same as what is in memory always, but for weights that are mapped.
void expect_same(const std::string& model, bool all_mapped) {
  const DecoderModel plain = load_model(two_threads(), model), mapped = load_model(two_threads(), model, {}, true);
  EXPECT_EQ(logits_of(mapped), logits_of(plain)) << model;
  EXPECT_EQ(plain.weights.mapped_bytes(), 0u);
  EXPECT_EQ(mapped.scheme, plain.scheme);
  for (const BlockWeights& b : mapped.weights.blocks)
    for (const Linear* l : b.linears()) {
      EXPECT_EQ(l->weight.mapped_bytes() > 0, all_mapped) << model;
    }
  EXPECT_GT(mapped.weights.embedding.mapped_bytes(), 0u) << model;
}

class MappedScheme : public ::testing::TestWithParam<std::string> {};

TEST_P(MappedScheme, SameLogits) {
  const TempDirectory dir;
  test::calibrated_model(dir, "llama-bf16");
  QuantizeOptions options = {.scheme = scheme_preset(GetParam())};
  if (GetParam().find("static") != std::string::npos) options.algorithm.calibration = test::few_samples(dir);
  quantize_checkpoint(two_threads(), dir / "m", dir / "q", options);
  // Inputs with zero points need sums over all codes, and columns that are found at run time their codes: they are laid out.
  static const std::set<std::string> kLaidOut = {"w8a8-asym", "w8a8-static-asym", "llm-int8", "int3"};
  expect_same(dir / "q", !kLaidOut.contains(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Schemes, MappedScheme,
                         ::testing::Values("f32", "bf16", "f16", "int8", "int8-asym", "int4-g32", "int4-g32-asym", "int3", "w8a8", "w8a8-tensor", "w8a8-asym", "w8a8-static", "w8a8-static-asym", "llm-int8",
                                           "fp8", "fp8-block", "fp8-channel", "fp8-e5m2", "lossless", "int8-coded", "fp8-coded", "coded-5"),
                         [](const auto& row) {
                           std::string name = row.param;
                           std::replace_if(name.begin(), name.end(), [](char c) { return std::isalnum(c) == 0; }, '_');
                           return name;
                         });

// Columns whose groups are scattered have another order in memory than in the file.
TEST(Mapped, ScatteredGroupsAreLaidOut) {
  const TempDirectory dir;
  const std::string model = test::quantized(dir, test::model_with_tokenizer(dir), "int4-g32");
  test::Tensors tensors = test::read_tensors(model), order;
  for (const auto& [name, tensor] : tensors) {
    if (!name.ends_with(".weight_scale")) continue;
    const int64_t groups = tensor.decl.shape[1], columns = groups * 32;
    std::vector<int32_t> group_of(static_cast<size_t>(columns));
    for (int64_t k = 0; k < columns; ++k) group_of[k] = static_cast<int32_t>((k * 7 + 1) % groups);
    const std::string g_idx = name.substr(0, name.size() - 5) + "g_idx";
    test::Tensor& added = order[g_idx] = {{g_idx, DType::i32, {columns}}, {}};
    added.data.resize(group_of.size() * 4);
    std::memcpy(added.data.data(), group_of.data(), added.data.size());
  }
  tensors.merge(order);
  test::write_tensors(model + "/model.safetensors", tensors);
  Json config = read_json_file(model + "/config.json");
  config["quantization_config"]["config_groups"]["group_0"]["weights"]["actorder"] = "group";
  write_file_atomically(model + "/config.json", dump_json(config));
  const DecoderModel mapped = load_model(two_threads(), model, {}, true);
  EXPECT_NE(mapped.weights.blocks[0].gate.weight.view().order, nullptr);
  expect_same(model, false);
}

TEST(Mapped, OtherProgramsModelsAreTheSameOrRefused) {
  int mapped = 0, refused = 0;
  for (const auto& entry : std::filesystem::directory_iterator(test::source_path("tests/quant/data/interchange"))) {
    if (!std::filesystem::exists(entry.path() / "reference.safetensors")) continue;
    try {
      const DecoderModel model = load_model(two_threads(), entry.path(), {}, true);
      EXPECT_EQ(logits_of(model), logits_of(load_model(two_threads(), entry.path()))) << entry.path();
      ++mapped;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported) << error.what();
      EXPECT_THAT(error.what(), HasSubstr("codecllm convert"));
      ++refused;
    }
  }
  EXPECT_GT(mapped, 1);
  EXPECT_GT(refused, 1);
  const TempDirectory dir;
  const std::string model = test::model_with_tokenizer(dir);
  test::converted(model, dir / "m.gguf", "gguf", "q8_0");
  EXPECT_THAT(test::error_of([&] { load_model(two_threads(), dir / "m.gguf", {}, true); }, ErrorCode::unsupported), HasSubstr("m.gguf"));
}

// E4M3's NaN is told by a scale, which the file does not have: such a matrix is laid out, and its product is NaN, too.
TEST(Mapped, NotANumber) {
  const TempDirectory dir;
  const std::string model = test::quantized(dir, test::model_with_tokenizer(dir), "fp8-channel");
  test::Tensors tensors = test::read_tensors(model);
  tensors.at("model.layers.0.mlp.up_proj.weight").data[5] = std::byte{0xFF};
  test::write_tensors(model + "/model.safetensors", tensors);
  const DecoderModel mapped = load_model(two_threads(), model, {}, true);
  EXPECT_EQ(mapped.weights.blocks[0].up.weight.mapped_bytes(), 0u);
  EXPECT_GT(mapped.weights.blocks[0].gate.weight.mapped_bytes(), 0u);
  EXPECT_TRUE(std::isnan(logits_of(mapped)[0]));
}

// Somebody writes to a mapped file: results are nonsense then, but no decoder leaves its buffers.
TEST(Mapped, CodedFilesThatChangeMeanwhile) {
  const TempDirectory dir;
  for (const std::string scheme : {"int8-coded", "lossless", "coded-5"}) {
    const std::string path = test::quantized(dir, test::model_with_tokenizer(dir), scheme);
    std::filesystem::remove_all(dir / "model");
    const DecoderModel mapped = load_model(two_threads(), path, {}, true);
    const std::vector<float> before = logits_of(mapped);
    const std::string file = path + "/model.safetensors";
    OutputFile out(file, OutputFile::Mode::modify);
    const size_t size = std::filesystem::file_size(file);
    for (size_t at = size / 3; at < size; at += 4096) {
      const std::vector<uint8_t> ones(std::min<size_t>(4096, size - at), 0xFF);
      out.write_at(at, ones.data(), ones.size());
    }
    EXPECT_NE(logits_of(mapped), before);
  }
}

// Coded matrices that are kept decoded are in memory; the rest stays mapped, also when the model moves.
TEST(Mapped, DecodeCacheAndMoves) {
  const TempDirectory dir;
  const std::string path = test::quantized(dir, test::model_with_tokenizer(dir), "int8-coded");
  const DecoderModel plain = load_model(two_threads(), path);
  DecoderModel first = load_model(two_threads(), path, {}, true);
  const size_t before = first.weights.mapped_bytes();
  const DecodeCache cache = keep_decoded(two_threads(), first, 30000);
  EXPECT_GT(cache.decoded, 0);
  EXPECT_LT(cache.decoded, cache.coded);
  EXPECT_LT(first.weights.mapped_bytes(), before);
  const DecoderModel second = std::move(first);
  EXPECT_EQ(logits_of(second), logits_of(plain));
}

}  // namespace
}  // namespace codecllm
