// SPDX-License-Identifier: Apache-2.0
// Every malformed GGUF file is refused by a sentence, without a large allocation first.
#include <gmock/gmock.h>

#include "io/gguf.h"
#include "io/gguf_bytes.h"
#include "io/support.h"

namespace codecllm {
namespace {

using namespace test;
using testing::HasSubstr;

struct GgufCase {
  const char* name;
  std::string file;
  const char* says;
  ErrorCode code = ErrorCode::bad_input;
};

void PrintTo(const GgufCase& test, std::ostream* out) { *out << test.name; }
std::string gguf_case_name(const testing::TestParamInfo<GgufCase>& test) { return test.param.name; }

class MalformedGguf : public testing::TestWithParam<GgufCase> {};

TEST_P(MalformedGguf, IsRefused) {
  const std::string message = error_of([&] { parse_gguf(bytes_of(GetParam().file), "f"); }, GetParam().code);
  EXPECT_THAT(message, HasSubstr(GetParam().says));
  EXPECT_THAT(message, testing::EndsWith(" in f"));
}

std::string one_entry(const std::string& entry) { return gguf_head(0, 1) + entry; }
std::string one_tensor(std::vector<uint64_t> dimensions, uint32_t type, size_t data, uint64_t offset = 0) {
  return gguf_file(gguf_head(1, 0) + gguf_tensor("t", std::move(dimensions), type, offset), data);
}

const std::string kOne = raw<uint8_t>(1);
constexpr uint64_t kHuge = uint64_t{1} << 63;

INSTANTIATE_TEST_SUITE_P(
    Head, MalformedGguf,
    testing::Values(GgufCase{"Empty", "", "does not begin with 'GGUF'"}, GgufCase{"OtherMagic", "GGML" + std::string(64, '\0'), "does not begin"},
                    GgufCase{"OnlyMagic", "GGUF", "ends within the version"},
                    GgufCase{"VersionOne", gguf_head(0, 0, 1), "version 1", ErrorCode::unsupported},
                    GgufCase{"VersionFour", gguf_head(0, 0, 4), "version 4", ErrorCode::unsupported},
                    GgufCase{"BigEndian", gguf_head(0, 0, 0x03000000), "big-endian", ErrorCode::unsupported},
                    GgufCase{"HugeEntries", gguf_head(0, kHuge), "metadata entries, at most 65536"},
                    GgufCase{"HugeTensors", gguf_head(kHuge, 0), "tensors, at most"},
                    GgufCase{"CutShort", gguf_head(0, 0).substr(0, 20), "ends within the metadata entries"}),
    gguf_case_name);

INSTANTIATE_TEST_SUITE_P(
    Metadata, MalformedGguf,
    testing::Values(GgufCase{"KeyOfAllOnes", gguf_head(0, 1) + raw(~uint64_t{0}), "a key of 18446744073709551615 bytes"},
                    GgufCase{"KeyBeyondEnd", gguf_head(0, 1) + raw<uint64_t>(9) + "abc", "a key of 9 bytes, at most 3"},
                    GgufCase{"EmptyKey", one_entry(gguf_entry("", 0, kOne)), "an empty key"},
                    GgufCase{"SameKeyTwice", gguf_head(0, 2) + gguf_entry("k", 0, kOne) + gguf_entry("k", 0, kOne), "'k' stands twice"},
                    GgufCase{"UnknownKind", one_entry(gguf_entry("k", 13, kOne)), "unknown kind 13"},
                    GgufCase{"BoolOfTwo", one_entry(gguf_entry("k", 7, raw<uint8_t>(2))), "neither true nor false"},
                    GgufCase{"TextBeyondEnd", one_entry(gguf_entry("k", 8, raw<uint64_t>(100) + "abc")), "a text of 100 bytes, at most 3"},
                    GgufCase{"ValueMissing", one_entry(gguf_entry("k", 10, "abc")), "ends within the value"},
                    GgufCase{"ListOfAllOnes", one_entry(gguf_entry("k", 9, raw<uint32_t>(0) + raw(~uint64_t{0}))), "a list of 18446744073709551615"},
                    GgufCase{"ListTimesSizeOverflows", one_entry(gguf_entry("k", 9, raw<uint32_t>(10) + raw(uint64_t{1} << 61))), "a list of 2305843009213693952"},
                    GgufCase{"ListOfLists", one_entry(gguf_entry("k", 9, raw<uint32_t>(9) + raw<uint64_t>(1))), "a list of the unknown kind 9"},
                    GgufCase{"ListTooLong", one_entry(gguf_entry("k", 9, raw<uint32_t>(0) + raw<uint64_t>(4194305) + std::string(4194305, '\0'))), "more than 4194304 elements"},
                    GgufCase{"AlignmentZero", one_entry(gguf_entry("general.alignment", 4, raw<uint32_t>(0))), "general.alignment is 0"},
                    GgufCase{"AlignmentThree", one_entry(gguf_entry("general.alignment", 4, raw<uint32_t>(3))), "general.alignment is 3"},
                    GgufCase{"AlignmentText", one_entry(gguf_entry("general.alignment", 8, gguf_text("a"))), "key 'general.alignment'"},
                    GgufCase{"Split", one_entry(gguf_entry("split.count", 2, raw<uint16_t>(2))), "one part of a split model", ErrorCode::unsupported}),
    gguf_case_name);

INSTANTIATE_TEST_SUITE_P(
    Tensors, MalformedGguf,
    testing::Values(GgufCase{"Missing", gguf_head(1, 0), "ends within"},
                    GgufCase{"NameTwice", gguf_file(gguf_head(2, 0) + gguf_tensor("t", {1}, 0, 0) + gguf_tensor("t", {1}, 0, 32), 64), "stands twice"},
                    GgufCase{"FiveDimensions", one_tensor({1, 1, 1, 1, 1}, 0, 4), "5 dimensions"},
                    GgufCase{"AllOnesDimensions", gguf_head(1, 0) + gguf_text("t") + raw(~uint32_t{0}), "4294967295 dimensions"},
                    GgufCase{"NegativeDimension", one_tensor({kHuge}, 0, 4), "a dimension of 9223372036854775808"},
                    GgufCase{"ProductOverflows", one_tensor({uint64_t{1} << 32, uint64_t{1} << 32}, 0, 4), "product of its dimensions overflows"},
                    GgufCase{"BytesOverflow", one_tensor({uint64_t{1} << 62}, 0, 4), "its size overflows"},
                    GgufCase{"UnknownType", one_tensor({32}, 99, 64), "numbers of type 99", ErrorCode::unsupported},
                    GgufCase{"RemovedType", one_tensor({32}, 4, 64), "numbers of type 4", ErrorCode::unsupported},
                    GgufCase{"PartOfABlock", one_tensor({33}, 8, 68), "not whole blocks of 32"},
                    GgufCase{"ScalarInBlocks", one_tensor({}, 8, 68), "not whole blocks of 32"},
                    GgufCase{"OffsetBeyondEnd", one_tensor({1}, 0, 4, 1024), "begins at 1024 of the data, expected 0"},
                    GgufCase{"OffsetUnaligned", one_tensor({1}, 0, 64, 4), "begins at 4 of the data"},
                    GgufCase{"Overlap", gguf_file(gguf_head(2, 0) + gguf_tensor("a", {1}, 0, 0) + gguf_tensor("b", {1}, 0, 0), 64), "begins at 0 of the data, expected 32"},
                    GgufCase{"DataTooShort", one_tensor({32}, 8, 33), "reaches beyond the end"},
                    GgufCase{"SecondTooShort", gguf_file(gguf_head(2, 0) + gguf_tensor("a", {1}, 0, 0) + gguf_tensor("b", {8}, 0, 32), 40), "reaches beyond the end"},
                    GgufCase{"NoData", gguf_head(1, 0) + gguf_tensor("t", {1}, 0, 0), "the data is missing"}),
    gguf_case_name);

TEST(Gguf, SmallestFile) {
  const std::string file = one_entry(gguf_entry("general.architecture", 8, gguf_text("llama")));
  const GgufHeader header = parse_gguf(bytes_of(file), "f");
  EXPECT_EQ(json_text(header.metadata), R"({"general.architecture":"llama"})");
  EXPECT_TRUE(header.tensors.empty());
}

TEST(Gguf, EveryKindOfValue) {
  const std::string list = raw<uint32_t>(8) + raw<uint64_t>(2) + gguf_text("a") + gguf_text("");
  const std::string file = gguf_head(0, 12, 2) + gguf_entry("a", 0, raw<uint8_t>(255)) + gguf_entry("b", 1, raw<int8_t>(-1)) +
                           gguf_entry("c", 2, raw<uint16_t>(65535)) + gguf_entry("d", 3, raw<int16_t>(-2)) +
                           gguf_entry("e", 4, raw<uint32_t>(~0u)) + gguf_entry("f", 5, raw<int32_t>(-3)) + gguf_entry("g", 6, raw(0.5f)) +
                           gguf_entry("h", 7, kOne) + gguf_entry("i", 9, list) + gguf_entry("j", 10, raw(~uint64_t{0})) +
                           gguf_entry("k", 11, raw<int64_t>(-4)) + gguf_entry("l", 12, raw(0.25));
  EXPECT_EQ(json_text(parse_gguf(bytes_of(file), "f").metadata),
            R"({"a":255,"b":-1,"c":65535,"d":-2,"e":4294967295,"f":-3,"g":0.5,"h":true,"i":["a",""],"j":18446744073709551615,"k":-4,"l":0.25})");
}

TEST(Gguf, TensorsLieWhereTheirOffsetsSay) {
  const std::string align = gguf_entry("general.alignment", 4, raw<uint32_t>(64));
  const std::string file = gguf_file(gguf_head(2, 1) + align + gguf_tensor("a", {5, 3}, 1, 0) + gguf_tensor("b", {64}, 8, 64), 64 + 68, 64);
  const GgufHeader header = parse_gguf(bytes_of(file), "f");
  ASSERT_EQ(header.tensors.size(), 2u);
  EXPECT_EQ(header.tensors[0].shape, (std::vector<int64_t>{3, 5}));
  EXPECT_EQ(header.tensors[0].data.size(), 30u);
  EXPECT_EQ(header.tensors[1].data.size(), 68u);
  EXPECT_EQ(reinterpret_cast<const char*>(header.tensors[1].data.data()), file.data() + file.size() - 68);
}

// Whatever is cut off, the reader refuses or hands out what is whole.
TEST(Gguf, EveryPrefixIsRefused) {
  const std::string file = gguf_file(gguf_head(1, 2) + gguf_entry("a", 8, gguf_text("text")) +
                                         gguf_entry("b", 9, raw<uint32_t>(4) + raw<uint64_t>(1) + raw<uint32_t>(7)) + gguf_tensor("t", {32}, 8, 0), 34);
  for (size_t n = 0; n < file.size(); ++n) EXPECT_THROW(parse_gguf(bytes_of(std::string_view(file).substr(0, n)), "f"), Error) << n;
  EXPECT_EQ(parse_gguf(bytes_of(file), "f").tensors.size(), 1u);
}

}  // namespace
}  // namespace codecllm
