// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors_writer.h"

#include <gmock/gmock.h>

#include "base/file.h"
#include "io/safetensors.h"
#include "io/support.h"

namespace codecllm {
namespace {

using test::bytes_of;
using test::error_of;
using testing::HasSubstr;

TEST(SafetensorsWriter, MatchesTheReferenceVector) {
  const PlacedTensor a{.decl = {"a", DType::i32, {2}}, .offset = 64, .bytes = 8};
  const std::string expected(
      "\x38\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[0,8]}}  ", 64);
  EXPECT_EQ(safetensors_header({&a, 1}, {}), expected);
}

TEST(SafetensorsWriter, OrdersByTypeThenName) {
  const SafetensorsLayout layout({{"z", DType::u8, {3}},
                                  {"b", DType::bf16, {1}},
                                  {"a", DType::bf16, {2, 1}},
                                  {"s", DType::i64, {}},
                                  {"f", DType::f32, {1}}});
  std::vector<std::string> names;
  for (const PlacedTensor& tensor : layout.tensors()) names.push_back(tensor.decl.name);
  EXPECT_THAT(names, testing::ElementsAre("s", "f", "a", "b", "z"));
  const size_t start = layout.header().size();
  EXPECT_EQ(start % 8, 0u);
  EXPECT_EQ(layout.need("s").offset, start);
  EXPECT_EQ(layout.need("f").offset, start + 8);
  EXPECT_EQ(layout.need("a").offset, start + 12);
  EXPECT_EQ(layout.need("b").offset, start + 16);
  EXPECT_EQ(layout.need("z").offset, start + 18);
  EXPECT_EQ(layout.file_bytes(), start + 21);
  EXPECT_THAT(layout.header(),
              HasSubstr(R"({"__metadata__":{"format":"pt"},"s":{"dtype":"I64","shape":[],)"));
  EXPECT_EQ(layout.find("none"), nullptr);
}

TEST(SafetensorsWriter, WhatItWritesReadsBack) {
  test::TempDirectory directory;
  const std::string odd = "a\"\\\n\x01/\xc3\xa9\xf0\x9f\x98\x80", one = "1234", two = "56", none;
  const std::vector<TensorData> tensors = {{{odd, DType::f16, {1}}, bytes_of(two)},
                                           {{"w", DType::f32, {1}}, bytes_of(one)},
                                           {{"e", DType::f32, {0, 5}}, bytes_of(none)}};
  write_safetensors(directory / "m.safetensors", tensors, {{"who", "me \"\t"}});
  const SafetensorsFile file(directory / "m.safetensors");
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.metadata().at("who"), "me \"\t");
  ASSERT_EQ(file.tensors().size(), 3u);
  ASSERT_NE(file.find(odd), nullptr);
  EXPECT_EQ(std::memcmp(file.find(odd)->data.data(), "56", 2), 0);
  EXPECT_EQ(std::memcmp(file.find("w")->data.data(), "1234", 4), 0);
  EXPECT_EQ(file.find("e")->elements(), 0);
  EXPECT_FALSE(file_exists(directory / "m.safetensors.partial"));
}

TEST(SafetensorsWriter, RefusesWhatNoReaderTakes) {
  const auto refusal = [](std::vector<TensorDecl> decls) {
    return error_of([&] { SafetensorsLayout layout(std::move(decls)); }, ErrorCode::bad_call);
  };
  EXPECT_THAT(refusal({{"a", DType::u8, {1}}, {"a", DType::i8, {1}}, {"a", DType::u8, {1}}}),
              HasSubstr("twice"));
  EXPECT_THAT(refusal({{"__metadata__", DType::u8, {1}}}), HasSubstr("kept for the metadata"));
  EXPECT_THAT(refusal({{"\xff", DType::u8, {1}}}), HasSubstr("not UTF-8"));
  EXPECT_THAT(refusal({{std::string("a\0", 2), DType::u8, {1}}}), HasSubstr("not UTF-8"));
  EXPECT_THAT(refusal({{std::string(5000, 'a'), DType::u8, {1}}}), HasSubstr("4096"));
  EXPECT_THAT(refusal({{"a", DType::u8, {-1}}}), HasSubstr("size of -1"));
  EXPECT_THAT(refusal({{"a", DType::f4, {3}}}), HasSubstr("whole bytes"));
  EXPECT_THAT(refusal({{"a", DType::u8, {int64_t{1} << 40, int64_t{1} << 40}}}), HasSubstr("64 bits"));
  EXPECT_THAT(refusal({{"a", DType::u8, {int64_t{1} << 54}}}), HasSubstr("2^53"));
  EXPECT_THAT(refusal({{"a", DType::u8, std::vector<int64_t>(33, 1)}}), HasSubstr("32 dimensions"));
  EXPECT_THAT(error_of(
                  [] {
                    SafetensorsLayout({}, {{"k", "\xff"}});
                  },
                  ErrorCode::bad_call),
              HasSubstr("metadata"));
}

TEST(SafetensorsWriter, SameNameOfTwoTypesIsRefused) {
  const std::string one = "1", two = "22";
  const std::vector<TensorData> tensors = {{{"a", DType::u8, {1}}, bytes_of(one)},
                                           {{"a", DType::bf16, {1}}, bytes_of(two)}};
  EXPECT_THAT(error_of([&] { write_safetensors("/nonexistent/x", tensors); }, ErrorCode::bad_call),
              HasSubstr("twice"));
}

TEST(SafetensorsWriter, WrongSizeLeavesNoFile) {
  test::TempDirectory directory;
  const std::string one = "1";
  const std::vector<TensorData> tensors = {{{"a", DType::f32, {1}}, bytes_of(one)}};
  EXPECT_THAT(error_of([&] { write_safetensors(directory / "m", tensors); }, ErrorCode::bad_call),
              HasSubstr("given 1 bytes, its shape needs 4 (tensor a)"));
  EXPECT_FALSE(file_exists(directory / "m"));
}

std::vector<TensorDecl> four_tensors() {
  return {{"c", DType::u8, {40}}, {"a", DType::u8, {60}}, {"d", DType::u8, {300}}, {"b", DType::u8, {10}}};
}

TEST(PlanShards, OneFileNeedsNoIndex) {
  const ShardPlan plan = plan_shards(four_tensors(), 410);
  ASSERT_EQ(plan.shards.size(), 1u);
  EXPECT_EQ(plan.shards[0].file, "model.safetensors");
  EXPECT_EQ(plan.index, "");
  EXPECT_EQ(plan_shards({}, 1).shards.size(), 1u);
}

TEST(PlanShards, FillsInTheGivenOrder) {
  const ShardPlan plan = plan_shards(four_tensors(), 100);
  ASSERT_EQ(plan.shards.size(), 3u);
  EXPECT_EQ(plan.shards[0].file, "model-00001-of-00003.safetensors");
  EXPECT_EQ(plan.shards[2].file, "model-00003-of-00003.safetensors");
  EXPECT_EQ(plan.shards[0].layout.tensors().size(), 2u);
  EXPECT_NE(plan.shards[0].layout.find("a"), nullptr);
  EXPECT_NE(plan.shards[1].layout.find("d"), nullptr);  // larger than a shard: alone
  EXPECT_NE(plan.shards[2].layout.find("b"), nullptr);
  EXPECT_EQ(plan.index, R"({
  "metadata": {
    "total_size": 410
  },
  "weight_map": {
    "a": "model-00001-of-00003.safetensors",
    "b": "model-00003-of-00003.safetensors",
    "c": "model-00001-of-00003.safetensors",
    "d": "model-00002-of-00003.safetensors"
  }
}
)");
}

TEST(PlanShards, RefusesNamesThatStandInTwoFiles) {
  const auto plan = [] { plan_shards({{"a", DType::u8, {9}}, {"a", DType::u8, {9}}}, 10); };
  EXPECT_THAT(error_of(plan, ErrorCode::bad_call), HasSubstr("twice"));
  error_of([] { plan_shards({}, 0); }, ErrorCode::bad_call);
}

}  // namespace
}  // namespace codecllm
