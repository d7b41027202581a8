// SPDX-License-Identifier: Apache-2.0
#include "io/packed_tensors.h"

#include <gmock/gmock.h>

#include "io/support.h"

namespace codecllm {
namespace {

using testing::HasSubstr;

constexpr int64_t kRows = 5, kColumns = 64;

// A model of one module "m" whose tensors are these, zero but for weight_shape.
class PackedTensorsTest : public testing::Test {
 protected:
  Checkpoint put(const std::vector<TensorDecl>& decls, int64_t rows = kRows, int64_t columns = kColumns) {
    std::vector<std::string> data;
    std::vector<TensorData> tensors;
    data.reserve(decls.size());
    const int64_t sizes[2] = {rows, columns};
    for (const TensorDecl& decl : decls) {
      const uint64_t bytes = tensor_bytes(decl.dtype, decl.shape, ErrorCode::bad_call, {});
      data.emplace_back(bytes, '\0');
      if (decl.name == "m.weight_shape")
        std::memcpy(data.back().data(), sizes, std::min(bytes, sizeof sizes));
      tensors.push_back({decl, test::bytes_of(data.back())});
    }
    directory.write("config.json", "{}");
    write_safetensors(directory / "model.safetensors", tensors);
    return Checkpoint(directory.path());
  }
  test::TempDirectory directory;
};

TEST_F(PackedTensorsTest, FindsWhatItDeclares) {
  const QuantArgs group{.num_bits = 4, .strategy = Strategy::group, .group_size = 32};
  QuantArgs skewed = group;
  skewed.symmetric = false;
  for (const QuantArgs& args :
       {group, skewed, QuantArgs{.num_bits = 8, .strategy = Strategy::channel},
        QuantArgs{.num_bits = 3, .strategy = Strategy::tensor, .symmetric = false},
        QuantArgs{.num_bits = 5, .strategy = Strategy::channel, .symmetric = false}}) {
    const Checkpoint checkpoint = put(packed_decls("m", kRows, kColumns, args, DType::bf16));
    const PackedTensors found = packed_tensors(checkpoint, "m", args);
    EXPECT_EQ(found.rows, kRows);
    EXPECT_EQ(found.columns, kColumns);
    EXPECT_EQ(found.codes->name, "m.weight_packed");
    EXPECT_EQ(found.scales->shape, scale_shape(args, kRows, kColumns));
    EXPECT_EQ(found.zero_points != nullptr, !args.symmetric);
    EXPECT_EQ(found.group_of_column, nullptr);
  }
}

TEST_F(PackedTensorsTest, TakesAScalarScaleAndColumnGroups) {
  const QuantArgs args{.num_bits = 8, .strategy = Strategy::tensor};
  EXPECT_NO_THROW(packed_tensors(put({{"m.weight_packed", DType::i32, {kRows, 16}},
                                      {"m.weight_scale", DType::f32, {}},
                                      {"m.weight_shape", DType::i64, {2}}}),
                                 "m", args));
  const QuantArgs group{.num_bits = 8, .strategy = Strategy::group, .group_size = 64};
  std::vector<TensorDecl> decls = packed_decls("m", kRows, kColumns, group, DType::f16);
  EXPECT_THAT(test::error_of([&] { packed_tensors(put(decls), "m", group, true); }),
              HasSubstr("m.weight_g_idx"));
  decls.push_back({"m.weight_g_idx", DType::i32, {kColumns}});
  const Checkpoint checkpoint = put(decls);
  EXPECT_NE(packed_tensors(checkpoint, "m", group, true).group_of_column, nullptr);
}

TEST_F(PackedTensorsTest, RefusesWhatDoesNotFit) {
  const QuantArgs args{.num_bits = 4, .strategy = Strategy::group, .group_size = 32, .symmetric = false};
  // decls in the order: weight_packed [5, 8], weight_scale [5, 2], weight_zero_point [1, 2], weight_shape [2]
  const auto refusal = [&](size_t which, DType dtype, std::vector<int64_t> shape) {
    std::vector<TensorDecl> decls = packed_decls("m", kRows, kColumns, args, DType::bf16);
    decls[which].dtype = dtype;
    decls[which].shape = std::move(shape);
    return test::error_of([&] { packed_tensors(put(decls), "m", args); });
  };
  EXPECT_THAT(refusal(0, DType::u8, {kRows, 8}), HasSubstr("type U8, expected I32 (tensor m.weight_packed)"));
  EXPECT_THAT(refusal(0, DType::i32, {kRows, 9}), HasSubstr("does not hold 64 codes of 4 bits"));
  EXPECT_THAT(refusal(0, DType::i32, {kRows + 1, 8}), HasSubstr("expected 5 rows"));
  EXPECT_THAT(refusal(0, DType::i32, {40}), HasSubstr("expected 5 rows"));
  EXPECT_THAT(refusal(1, DType::i8, {kRows, 2}), HasSubstr("is not of type F32, BF16, F16 or E8M0"));
  EXPECT_THAT(refusal(1, DType::bf16, {2, kRows}), HasSubstr("shape [2, 5], expected [5, 2]"));
  EXPECT_THAT(refusal(1, DType::bf16, {}), HasSubstr("shape [], expected [5, 2]"));
  EXPECT_THAT(refusal(2, DType::i8, {1, 2}), HasSubstr("expected I32 (tensor m.weight_zero_point)"));
  EXPECT_THAT(refusal(2, DType::i32, {2, 1}), HasSubstr("expected [2, 2]"));
  EXPECT_THAT(refusal(2, DType::i32, {2, 2}), HasSubstr("does not hold 5 codes"));
  EXPECT_THAT(refusal(2, DType::i32, {}), HasSubstr("expected [0, 2]"));
  EXPECT_THAT(refusal(3, DType::i32, {2}), HasSubstr("expected I64 (tensor m.weight_shape)"));
  EXPECT_THAT(refusal(3, DType::i64, {1}), HasSubstr("expected [2]"));
}

TEST_F(PackedTensorsTest, RefusesAWeightShapeThatLies) {
  const QuantArgs args{.num_bits = 4, .strategy = Strategy::channel};
  const std::vector<TensorDecl> decls = packed_decls("m", kRows, kColumns, args, DType::bf16);
  const auto refusal = [&](int64_t rows, int64_t columns) {
    return test::error_of([&] { packed_tensors(put(decls, rows, columns), "m", args); });
  };
  EXPECT_THAT(refusal(-5, 64), HasSubstr("says -5 by 64 (tensor m.weight_shape)"));
  EXPECT_THAT(refusal(5, int64_t{1} << 62), HasSubstr("says 5 by"));
  EXPECT_THAT(refusal(0, 64), HasSubstr("says 0 by 64"));
  EXPECT_THAT(refusal(6, 64), HasSubstr("expected 6 rows"));
  EXPECT_THAT(refusal(5, 65), HasSubstr("does not hold 65 codes"));
  const QuantArgs group{.num_bits = 4, .strategy = Strategy::group, .group_size = 48};
  EXPECT_THAT(test::error_of([&] { packed_tensors(put(decls), "m", group); }),
              HasSubstr("not whole groups of 48"));
}

}  // namespace
}  // namespace codecllm
