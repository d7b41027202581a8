// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors.h"

#include <gmock/gmock.h>

#include "io/header_scanner.h"
#include "io/support.h"

namespace codecllm {
namespace {

using test::bytes_of;
using test::safetensors;
using testing::ElementsAre;

SafetensorsHeader parse(const std::string& file) { return parse_safetensors(bytes_of(file), "f"); }

TEST(Safetensors, ReadsTheReferenceVector) {
  const std::string file(
      "\x38\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[0,8]}}  "
      "\x01\0\0\0\xff\xff\xff\xff",
      72);
  const SafetensorsHeader header = parse(file);
  ASSERT_EQ(header.tensors.size(), 1u);
  const TensorInfo& a = header.tensors[0];
  EXPECT_EQ(a.name, "a");
  EXPECT_EQ(a.dtype, DType::i32);
  EXPECT_THAT(a.shape, ElementsAre(2));
  EXPECT_EQ(a.elements(), 2);
  EXPECT_EQ(a.data.data(), bytes_of(file).data() + 64);
  EXPECT_EQ(a.data.size(), 8u);
}

TEST(Safetensors, GivesTensorsByOffsetNotByPlaceInTheHeader) {
  const std::string file =
      safetensors(R"({"b":{"data_offsets":[3,5],"shape":[1],"dtype":"BF16"},"__metadata__":{"format":"pt"},)"
                  R"("a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})",
                  5);
  const SafetensorsHeader header = parse(file);
  ASSERT_EQ(header.tensors.size(), 2u);
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_EQ(header.tensors[1].name, "b");
  EXPECT_EQ(header.metadata.at("format"), "pt");
}

TEST(Safetensors, TakesScalarsAndEmptyTensors) {
  const std::string file = safetensors(
      R"({"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"e":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]},)"
      R"("z":{"dtype":"F4","shape":[3,0],"data_offsets":[4,4]}})",
      4);
  const SafetensorsHeader header = parse(file);
  ASSERT_EQ(header.tensors.size(), 3u);
  EXPECT_EQ(header.tensors[0].name, "e");
  EXPECT_EQ(header.tensors[0].elements(), 0);
  EXPECT_EQ(header.tensors[1].elements(), 1);
  EXPECT_TRUE(header.tensors[2].data.empty());
}

TEST(Safetensors, TakesFilesWithoutTensors) {
  EXPECT_TRUE(parse(safetensors("{}")).tensors.empty());
  EXPECT_TRUE(parse(safetensors("{ } \n\t\r")).tensors.empty());
  EXPECT_EQ(parse(safetensors(R"({"__metadata__":{}})")).metadata.size(), 0u);
}

TEST(Safetensors, TakesSubByteTypesThatFillBytes) {
  const auto header = parse(safetensors(R"({"a":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]}})", 3));
  EXPECT_EQ(header.tensors[0].data.size(), 3u);
}

TEST(Safetensors, DecodesNames) {
  const auto header =
      parse(safetensors(R"({"\u0061\/\n\ud83d\ude00é":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1));
  EXPECT_EQ(header.tensors[0].name, "a/\n\xf0\x9f\x98\x80\xc3\xa9");
}

TEST(Safetensors, FindsByName) {
  test::TempDirectory directory;
  SafetensorsFile file(
      directory.write("m", safetensors(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1)));
  SafetensorsFile moved = std::move(file);
  ASSERT_NE(moved.find("a"), nullptr);
  EXPECT_EQ(moved.find("a"), &moved.tensors()[0]);
  EXPECT_EQ(moved.find("b"), nullptr);
  EXPECT_EQ(moved.find("a")->data[0], std::byte{0x11});
  EXPECT_EQ(moved.file().path(), directory / "m");
}

TEST(Safetensors, NamesAMissingFile) {
  const std::string message =
      test::error_of([] { SafetensorsFile("/nonexistent/x.safetensors"); }, ErrorCode::io);
  EXPECT_THAT(message, testing::HasSubstr("/nonexistent/x.safetensors"));
}

TEST(Safetensors, ShowsHostileTextHarmless) {
  EXPECT_EQ(shown(std::string_view("a\x1b[31m\0\xff\x7f", 9)), "a\\x1b[31m\\x00\\xff\\x7f");
  EXPECT_EQ(shown(std::string(500, 'x')), std::string(120, 'x') + "...");
  EXPECT_EQ(shown("naïve"), "naïve");
}

TEST(Safetensors, KnowsUtf8) {
  for (const char* good :
       {"", "a", "\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"})
    EXPECT_TRUE(is_utf8(good)) << shown(good);
  // Overlong, surrogate, beyond 0x10FFFF, lone tail, cut.
  for (const char* bad :
       {"\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", "\x80", "\xc2", "\xe1\x80", "\xf1\x80\x80", "a\xff"})
    EXPECT_FALSE(is_utf8(bad)) << shown(bad);
}

}  // namespace
}  // namespace codecllm
