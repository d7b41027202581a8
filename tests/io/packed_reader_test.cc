// SPDX-License-Identifier: Apache-2.0
#include "io/packed_reader.h"

#include <gmock/gmock.h>

#include <cmath>

#include "base/rng.h"
#include "format/float16.h"
#include "io/support.h"

namespace codecllm {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

template <class T>
std::string text_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// One module "m" with these tensors.
class PackedReaderTest : public testing::Test {
 protected:
  void add(const std::string& name, DType dtype, std::vector<int64_t> shape, std::string data) {
    decls_.push_back({"m." + name, dtype, std::move(shape)});
    data_.push_back(std::move(data));
  }
  Checkpoint checkpoint() {
    std::vector<TensorData> tensors;
    for (size_t i = 0; i < decls_.size(); ++i) tensors.push_back({decls_[i], test::bytes_of(data_[i])});
    directory_.write("config.json", "{}");
    write_safetensors(directory_ / "model.safetensors", tensors);
    return Checkpoint(directory_.path());
  }
  std::vector<TensorDecl> decls_;
  std::vector<std::string> data_;
  test::TempDirectory directory_;
};

TEST_F(PackedReaderTest, ZeroPointsOfEveryWidth) {
  constexpr int64_t kRows = 37, kColumns = 96, kGroups = 3;
  Rng rng(1);
  for (int bits = 2; bits <= 8; ++bits) {
    decls_.clear(), data_.clear();
    const int half = 1 << (bits - 1);
    std::vector<int8_t> zeros(kRows * kGroups), codes(kRows * kColumns);
    for (int8_t& z : zeros) z = static_cast<int8_t>(static_cast<int>(rng.below(2 * half)) - half);
    for (int8_t& c : codes) c = static_cast<int8_t>(static_cast<int>(rng.below(2 * half)) - half);
    const size_t width = packed_words(kColumns, bits), height = packed_words(kRows, bits);
    std::vector<uint32_t> words(kRows * width), zero_words(height * kGroups);
    for (int64_t n = 0; n < kRows; ++n) pack_row(&codes[n * kColumns], kColumns, bits, &words[n * width]);
    pack_zero_points(zeros.data(), kRows, kGroups, bits, zero_words.data());
    const QuantArgs args = {.num_bits = bits, .strategy = Strategy::group, .group_size = 32, .symmetric = false};
    add("weight_packed", DType::i32, {kRows, static_cast<int64_t>(width)}, text_of(words));
    add("weight_scale", DType::f32, {kRows, kGroups}, text_of(std::vector<float>(kRows * kGroups, 0.5f)));
    add("weight_zero_point", DType::i32, {static_cast<int64_t>(height), kGroups}, text_of(zero_words));
    add("weight_shape", DType::i64, {2}, text_of(std::vector<int64_t>{kRows, kColumns}));
    const Checkpoint c = checkpoint();
    const PackedReader reader(packed_tensors(c, "m", args), args);
    std::vector<int8_t> row(kColumns);
    for (int64_t n = 0; n < kRows; ++n) {
      reader.codes(n, row.data());
      EXPECT_EQ(row, std::vector<int8_t>(codes.begin() + n * kColumns, codes.begin() + (n + 1) * kColumns));
      for (int64_t g = 0; g < kGroups; ++g) EXPECT_EQ(reader.grid(n, g), (Grid{0.5f, zeros[n * kGroups + g]})) << bits;
    }
  }
}

TEST_F(PackedReaderTest, BytesWithZeroPointsAndNegativeScales) {
  const QuantArgs args = {.symmetric = false};
  add("weight", DType::i8, {2, 3}, text_of(std::vector<int8_t>{-128, 0, 127, 1, 2, 3}));
  add("weight_scale", DType::bf16, {2, 1}, text_of(std::vector<uint16_t>{f32_to_bf16(-0.25f), f32_to_bf16(2)}));
  add("weight_zero_point", DType::i8, {2, 1}, text_of(std::vector<int8_t>{-7, 100}));
  const Checkpoint c = checkpoint();
  EXPECT_TRUE(is_stored_quantized(c, "m"));
  EXPECT_EQ(module_of_codes(c.need("m.weight")), "m");
  EXPECT_EQ(module_of_codes(c.need("m.weight_scale")), "");
  const PackedReader reader(packed_tensors(c, "m", args), args);
  std::vector<int8_t> row(3);
  reader.codes(0, row.data());
  EXPECT_THAT(row, ElementsAre(-128, 0, 127));
  EXPECT_EQ(reader.grid(0, 0), (Grid{-0.25f, -7}));
  EXPECT_EQ(reader.grid(1, 0), (Grid{2, 100}));
  EXPECT_THAT(reader.column_order(), IsEmpty());
}

TEST_F(PackedReaderTest, BlocksWithRaggedEdgesAndPowerOfTwoScales) {
  constexpr int64_t kRows = 130, kColumns = 200;
  const QuantArgs args = {.type = NumberType::floating, .strategy = Strategy::block, .block = {128, 128}};
  add("weight", DType::f8_e4m3, {kRows, kColumns}, std::string(kRows * kColumns, '\x38'));
  add("weight_scale", DType::f8_e8m0, {2, 2}, text_of(std::vector<uint8_t>{127, 128, 126, 120}));
  const Checkpoint c = checkpoint();
  const PackedReader reader(packed_tensors(c, "m", args), args);
  EXPECT_EQ(reader.group(), 128);
  EXPECT_EQ(reader.groups(), 2);
  EXPECT_EQ(reader.scale(0, 0), 1);
  EXPECT_EQ(reader.scale(127, 1), 2);
  EXPECT_EQ(reader.scale(128, 0), 0.5f);
  EXPECT_EQ(reader.scale(129, 1), 0x1p-7f);
  EXPECT_EQ(reader.scale_type(), DType::f8_e8m0);
}

TEST_F(PackedReaderTest, RefusesBytesOfAnotherType) {
  const QuantArgs args = {.type = NumberType::floating};
  add("weight", DType::i8, {2, 3}, std::string(6, 'a'));
  add("weight_scale", DType::f32, {2, 1}, std::string(8, 'a'));
  const Checkpoint c = checkpoint();
  EXPECT_THAT(test::error_of([&] { packed_tensors(c, "m", args); }), testing::HasSubstr("type I8, expected F8_E4M3"));
}

TEST(OrderByGroup, SortsColumnsByTheirGroup) {
  EXPECT_THAT(order_by_group(std::vector<int32_t>{0, 0, 1, 1}, 2).value(), IsEmpty());
  EXPECT_THAT(order_by_group(std::vector<int32_t>{1, 0, 1, 0}, 2).value(), ElementsAre(1, 3, 0, 2));
  EXPECT_THAT(order_by_group(std::vector<int32_t>{2, 0, 1, 0, 1}, 2).value(), ElementsAre(1, 3, 2, 4, 0));
  for (const std::vector<int32_t>& bad : {std::vector<int32_t>{0, 1, 1, 1}, {0, 0, 2, 2}, {-5, 0, 0, 1}, {0, 0, 0, 7}})
    EXPECT_EQ(order_by_group(bad, 2), std::nullopt);
}

}  // namespace
}  // namespace codecllm
