// SPDX-License-Identifier: Apache-2.0
// Every malformed file is refused by a sentence, without a large allocation first.
#include <gmock/gmock.h>

#include <ctime>

#include "base/memory.h"
#include "io/safetensors.h"
#include "io/support.h"
#include "paths.h"

namespace codecllm {
namespace {

using test::bytes_of;
using test::length_word;
using test::safetensors;
using testing::HasSubstr;

std::string refusal(const std::string& file) {
  return test::error_of([&] { parse_safetensors(bytes_of(file), "f"); });
}

// A header with one tensor "a" described by `fields`.
std::string one(const std::string& fields, size_t data_bytes) {
  return safetensors("{\"a\":{" + fields + "}}", data_bytes);
}

struct Case {
  const char* name;
  std::string file;
  const char* says;
};

void PrintTo(const Case& test, std::ostream* out) { *out << test.name; }
std::string case_name(const testing::TestParamInfo<Case>& test) { return test.param.name; }

class Malformed : public testing::TestWithParam<Case> {};

TEST_P(Malformed, IsRefused) {
  const std::string message = refusal(GetParam().file);
  EXPECT_THAT(message, HasSubstr(GetParam().says));
  EXPECT_THAT(message, testing::StartsWith("[safetensors] "));
  EXPECT_THAT(message, testing::EndsWith(" in f"));
}

const std::string kTail = R"(,"data_offsets":[0,1])";
const std::string kU8 = R"("dtype":"U8","shape":[1],"data_offsets":[0,1])";

INSTANTIATE_TEST_SUITE_P(
    Length, Malformed,
    testing::Values(Case{"Empty", "", "only 0 bytes"}, Case{"SevenBytes", "\x02{}....", "only 7 bytes"},
                    Case{"Huge", length_word(uint64_t{1} << 63) + "{}", "at most 100000000"},
                    Case{"AllOnes", length_word(~uint64_t{0}) + "{}", "at most 100000000"},
                    Case{"OverTheCap", length_word(100'000'001) + "{}", "at most 100000000"},
                    Case{"OverTheFile", length_word(3) + "{}", "is the file cut short?"},
                    Case{"Zero", length_word(0), "does not begin with '{'"}),
    case_name);

INSTANTIATE_TEST_SUITE_P(
    Json, Malformed,
    testing::Values(
        Case{"LeadingSpace", safetensors(" {}"), "does not begin with '{'"},
        Case{"ByteOrderMark", safetensors("\xef\xbb\xbf{}"), "does not begin with '{'"},
        Case{"Array", safetensors("[]"), "does not begin with '{'"},
        Case{"Unclosed", safetensors("{"), "got the end"},
        Case{"TrailingText", safetensors("{}x"), "something follows"},
        Case{"TrailingZero", safetensors(std::string("{}\0", 3)), "something follows"},
        Case{"TrailingComma", one(kU8 + ",", 1), "expected '\"'"},
        Case{"NestedArrays", safetensors("{\"a\":[[[[[[[[[["), "expected '{'"},
        Case{"NestedShape", one(R"("dtype":"U8","shape":[[1]])" + kTail, 1), "expected a whole number"},
        Case{"TensorIsANumber", safetensors("{\"a\":1}"), "expected '{'"},
        Case{"TensorIsEmpty", safetensors("{\"a\":{}}"), "expected '\"'"},
        Case{"UnknownKey", one(kU8 + ",\"strides\":[1]", 1), "'strides' is not one of"},
        Case{"NoDtype", one(R"("shape":[1])" + kTail, 1), "needs dtype, shape and data_offsets"},
        Case{"DtypeTwice", one(kU8 + ",\"dtype\":\"I8\"", 1), "'dtype' stands twice"},
        Case{"ShapeTwice", one(kU8 + ",\"shape\":[1]", 1), "'shape' stands twice"},
        Case{"OffsetsTwice", one(kU8 + kTail, 1), "'data_offsets' stands twice"},
        Case{"UnknownDtype", one(R"("dtype":"Q4","shape":[1])" + kTail, 1), "dtype 'Q4' is not known"},
        Case{"NameTwice", safetensors("{\"a\":{" + kU8 + "},\"a\":{" + kU8 + "}}", 1), "'a' stands twice"},
        Case{"NameTwiceEscaped", safetensors("{\"a\":{" + kU8 + "},\"\\u0061\":{" + kU8 + "}}", 1),
             "stands twice"},
        Case{"NameWithZero", safetensors("{\"a\\u0000\":{" + kU8 + "}}", 1), "zero character"},
        Case{"LongName", safetensors("{\"" + std::string(5000, 'n') + "\":{" + kU8 + "}}", 1),
             "longer than 4096"},
        Case{"InvalidUtf8", safetensors("{\"\xff\":{" + kU8 + "}}", 1), "not valid UTF-8"},
        Case{"CutUtf8", safetensors("{\"\xe2\x82\":{" + kU8 + "}}", 1), "not valid UTF-8"},
        Case{"LoneSurrogate", safetensors("{\"\\ud800\":{" + kU8 + "}}", 1), "lone surrogate"},
        Case{"LoneLowSurrogate", safetensors("{\"\\udc00\":{" + kU8 + "}}", 1), "lone surrogate"},
        Case{"TwoHighSurrogates", safetensors("{\"\\ud800\\ud800\":{" + kU8 + "}}", 1), "lone surrogate"},
        Case{"BadEscape", safetensors("{\"\\x41\":{" + kU8 + "}}", 1), "no such escape"},
        Case{"BadHex", safetensors("{\"\\u00g1\":{" + kU8 + "}}", 1), "four hexadecimal"},
        Case{"ControlInName", safetensors("{\"a\nb\":{" + kU8 + "}}", 1), "control character"},
        Case{"UnclosedString", safetensors("{\"a"), "ends inside a string"}),
    case_name);

INSTANTIATE_TEST_SUITE_P(
    Metadata, Malformed,
    testing::Values(Case{"Number", safetensors(R"({"__metadata__":{"a":1}})"), "expected '\"'"},
                    Case{"Object", safetensors(R"({"__metadata__":{"a":{}}})"), "expected '\"'"},
                    Case{"Null", safetensors(R"({"__metadata__":null})"), "expected '{'"},
                    Case{"Twice", safetensors(R"({"__metadata__":{"a":"","a":""}})"), "'a' stands twice"},
                    Case{"BlockTwice", safetensors(R"({"__metadata__":{},"__metadata__":{}})"),
                         "stands twice"}),
    case_name);

std::string shaped(const std::string& shape, size_t bytes, const char* dtype = "U8") {
  return one("\"dtype\":\"" + std::string(dtype) + "\",\"shape\":" + shape + ",\"data_offsets\":[0," +
                 std::to_string(bytes) + "]",
             bytes);
}

INSTANTIATE_TEST_SUITE_P(
    Numbers, Malformed,
    testing::Values(
        Case{"Negative", shaped("[-1]", 1), "expected a whole number"},
        Case{"Fraction", shaped("[1.0]", 1), "without fraction"},
        Case{"Exponent", shaped("[1e0]", 1), "without fraction"},
        Case{"LeadingZero", shaped("[01]", 1), "leading zero"},
        Case{"Plus", shaped("[+1]", 1), "expected a whole"},
        Case{"Over53Bits", shaped("[9007199254740993]", 1), "over 2^53"},
        Case{"Over64Bits", shaped("[18446744073709551617]", 1), "over 2^53"},
        Case{"String", shaped("[\"1\"]", 1), "expected a whole number"},
        Case{"ManyDimensions",
             shaped("[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", 1),
             "more than 32 numbers"},
        Case{"ProductOverflow", shaped("[4294967296,4294967296]", 0), "more elements than 64 bits"},
        Case{"ProductOverflowToSmall", shaped("[4294967297,4294967297,4294967297]", 1),
             "more elements than 64 bits"},
        Case{"BitOverflow", shaped("[2147483648,1073741824]", 0, "F64"), "more elements than 64 bits"},
        Case{"OverflowBesideZero", shaped("[0,4503599627370496,4503599627370496]", 0),
             "more elements than 64 bits"},
        Case{"HalfByte", shaped("[3]", 1, "F4"), "do not fill whole bytes"},
        Case{"SizeTooSmall", shaped("[2]", 1), "1 bytes, its shape needs 2"},
        Case{"SizeTooLarge", shaped("[1]", 2), "2 bytes, its shape needs 1"},
        Case{"EmptyWithData", shaped("[0]", 1), "1 bytes, its shape needs 0"}),
    case_name);

std::string offsets(const std::string& a, const std::string& b, size_t bytes) {
  const std::string head = R"({"dtype":"U8","shape":[2],"data_offsets":)";
  return safetensors("{\"a\":" + head + a + "},\"b\":" + head + b + "}}", bytes);
}

INSTANTIATE_TEST_SUITE_P(
    Offsets, Malformed,
    testing::Values(Case{"Same", offsets("[0,2]", "[0,2]", 2), "overlaps"},
                    Case{"Overlap", offsets("[0,2]", "[1,3]", 3), "overlaps"},
                    Case{"Hole", offsets("[0,2]", "[3,5]", 5), "hole"},
                    Case{"HoleAtTheStart", offsets("[1,3]", "[3,5]", 5), "hole"},
                    Case{"Reversed", offsets("[0,2]", "[2,0]", 4), "is the file cut short?"},
                    Case{"BeyondTheEnd", offsets("[0,2]", "[2,4]", 3), "is the file cut short?"},
                    Case{"FarBeyondTheEnd", offsets("[0,9007199254740992]", "[2,4]", 4),
                         "is the file cut short?"},
                    Case{"TrailingData", offsets("[0,2]", "[2,4]", 5), "the file has 5"},
                    Case{"NoTensorsButData", safetensors("{}", 1), "the file has 1"},
                    Case{"OneOffset", offsets("[0]", "[2,4]", 4), "needs two numbers"},
                    Case{"ThreeOffsets", offsets("[0,2,4]", "[2,4]", 4), "more than 2 numbers"},
                    Case{"NegativeOffset", offsets("[-2,0]", "[0,2]", 2), "expected a whole number"}),
    case_name);

// 100 MB of header, each refused or read without memory in proportion and in well under the 10 s of CPU time that
// are given here, sanitizers apart.
void expect_cheap(const std::string& file, const char* says) {
  const std::clock_t start = std::clock();
  const size_t before = peak_rss_bytes();
  EXPECT_THAT(refusal(file), HasSubstr(says));
  EXPECT_LT(peak_rss_bytes() - before, size_t{64} << 20);
  EXPECT_LT((std::clock() - start) / CLOCKS_PER_SEC, test::kSanitized ? 100 : 10);
}

constexpr size_t kCap = SafetensorsLimits::header_bytes;

TEST(SafetensorsAttack, HundredMegabytesOfSpace) {
  expect_cheap(safetensors("{" + std::string(kCap - 1, ' ')), "got the end");
}

TEST(SafetensorsAttack, HundredMegabytesOfNesting) {
  expect_cheap(safetensors("{\"a\":" + std::string(kCap - 5, '[')), "expected '{'");
  expect_cheap(safetensors("{\"a\":" + std::string(kCap - 5, '{')), "expected '\"'");
}

TEST(SafetensorsAttack, HundredMegabytesOfOneName) {
  expect_cheap(safetensors("{\"" + std::string(kCap - 2, 'n')), "longer than 4096");
}

TEST(SafetensorsAttack, HundredMegabytesOfShape) {
  std::string header = R"({"a":{"dtype":"U8","shape":[)";
  while (header.size() + 2 <= kCap) header += "1,";
  expect_cheap(safetensors(header), "more than 32 numbers");
}

TEST(SafetensorsAttack, ManyMetadataEntries) {
  std::string header = R"({"__metadata__":{)";
  for (size_t i = 0; i <= SafetensorsLimits::metadata_entries; ++i)
    header += "\"" + std::to_string(i) + "\":\"\",";
  EXPECT_THAT(refusal(safetensors(header)), HasSubstr("too many entries"));
}

TEST(SafetensorsAttack, EveryCutOfAGoodFileIsRefused) {
  const std::string good = safetensors(
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[2,1],"data_offsets":[0,4]}})", 4);
  EXPECT_EQ(parse_safetensors(bytes_of(good), "f").tensors.size(), 1u);
  for (size_t size = 0; size < good.size(); ++size) refusal(good.substr(0, size));
}

}  // namespace
}  // namespace codecllm
