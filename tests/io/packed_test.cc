// SPDX-License-Identifier: Apache-2.0
#include "io/packed.h"

#include <gmock/gmock.h>

#include <vector>

#include "io/support.h"

namespace codecllm {
namespace {

using testing::ElementsAre;

std::vector<uint32_t> packed(const std::vector<int8_t>& codes, int bits) {
  std::vector<uint32_t> words(packed_words(codes.size(), bits), 0xDEADBEEF);
  pack_row(codes.data(), codes.size(), bits, words.data());
  return words;
}

// Codes of every value in an order without a short period.
std::vector<int8_t> codes_of(size_t n, int bits) {
  std::vector<int8_t> codes(n);
  uint32_t state = 12345;
  for (int8_t& code : codes) {
    state = state * 1664525 + 1013904223;
    code = static_cast<int8_t>(static_cast<int>(state >> (32 - bits)) - (1 << (bits - 1)));
  }
  return codes;
}

// compressed-tensors before 0.17: floor(32 / bits) codes per word.
std::vector<uint32_t> packed_per_word(const std::vector<int8_t>& codes, int bits) {
  const size_t per_word = 32 / static_cast<size_t>(bits);
  std::vector<uint32_t> words(packed_words(codes.size(), bits, Packing::per_word));
  for (size_t i = 0; i < codes.size(); ++i)
    words[i / per_word] |= static_cast<uint32_t>(codes[i] + (1 << (bits - 1))) << (i % per_word * bits);
  return words;
}

TEST(Packed, MatchesTheKnownWords) {
  EXPECT_THAT(packed({-8, -7, -6, -5, -4, -3, -2, -1}, 4), ElementsAre(0x76543210u));
  EXPECT_THAT(packed({-128, -1, 0, 127}, 8), ElementsAre(0xFF807F00u));
  std::vector<int8_t> codes;
  for (int i = 0; i < 32; ++i) codes.push_back(static_cast<int8_t>(-4 + i % 8));
  EXPECT_THAT(packed(codes, 3), ElementsAre(0x88FAC688u, 0xC688FAC6u, 0xFAC688FAu));
  EXPECT_THAT(packed_per_word(codes, 3), ElementsAre(0x08FAC688u, 0x1A23EB1Au, 0x2C688FACu, 0x0000003Eu));
}

TEST(Packed, ReadsTheOldWords) {
  const uint32_t words[] = {0x08FAC688, 0x1A23EB1A, 0x2C688FAC, 0x0000003E};
  EXPECT_EQ(packing_of(32, 3, 4), Packing::per_word);
  std::vector<int8_t> codes(32);
  unpack_row(words, 0, 32, 3, Packing::per_word, codes.data());
  for (int i = 0; i < 32; ++i) EXPECT_EQ(codes[static_cast<size_t>(i)], -4 + i % 8);
}

TEST(Packed, TellsThePackingByItsWidth) {
  for (const int bits : {1, 2, 4, 8})
    EXPECT_EQ(packing_of(1000, bits, packed_words(1000, bits)), Packing::dense);
  for (const int bits : {3, 5, 6, 7}) {
    const size_t dense = packed_words(1000, bits), old = packed_words(1000, bits, Packing::per_word);
    EXPECT_LT(dense, old);
    EXPECT_EQ(packing_of(1000, bits, dense), Packing::dense);
    EXPECT_EQ(packing_of(1000, bits, old), Packing::per_word);
    test::error_of([&] { packing_of(1000, bits, dense - 1); });
    test::error_of([&] { packing_of(1000, bits, old + 1); });
  }
  EXPECT_EQ(packing_of(7, 5, 2), Packing::dense);  // both fit
}

TEST(Packed, CountsWordsWithoutOverflow) {
  EXPECT_EQ(packed_words(0, 3), 0u);
  EXPECT_EQ(packed_words(1, 8), 1u);
  EXPECT_EQ(packed_words(33, 8), 9u);
  EXPECT_EQ(packed_words(size_t{1} << 62, 8), size_t{1} << 60);
  test::error_of([] { packed_words(1, 0); }, ErrorCode::bad_call);
  test::error_of([] { packed_words(1, 9); }, ErrorCode::bad_call);
}

class PackedBits : public testing::TestWithParam<int> {};

TEST_P(PackedBits, RoundTripsEveryLengthAndRange) {
  const int bits = GetParam();
  for (size_t n = 0; n <= 70; ++n) {
    const std::vector<int8_t> codes = codes_of(n, bits);
    for (const Packing packing : {Packing::dense, Packing::per_word}) {
      const std::vector<uint32_t> words =
          packing == Packing::dense ? packed(codes, bits) : packed_per_word(codes, bits);
      // One byte off, and of the exact size, so that the sanitizer sees a read too far.
      std::vector<char> unaligned(1 + words.size() * 4);
      if (!words.empty()) std::memcpy(unaligned.data() + 1, words.data(), words.size() * 4);
      for (size_t begin = 0; begin <= n; ++begin) {
        std::vector<int8_t> back(n - begin);
        unpack_row(unaligned.data() + 1, begin, n - begin, bits, packing, back.data());
        EXPECT_TRUE(std::equal(back.begin(), back.end(), codes.begin() + static_cast<std::ptrdiff_t>(begin)))
            << "n " << n << " begin " << begin;
      }
    }
  }
}

TEST_P(PackedBits, LeavesUnusedBitsZero) {
  const int bits = GetParam();
  const std::vector<int8_t> top(5, static_cast<int8_t>((1 << (bits - 1)) - 1));
  const std::vector<uint32_t> words = packed(top, bits);
  const int used = 5 * bits;
  const uint64_t both = words[0] | (words.size() > 1 ? uint64_t{words[1]} << 32 : 0);
  EXPECT_EQ(both, (uint64_t{1} << used) - 1);
}

TEST_P(PackedBits, ZeroPointsArePackedAlongRows) {
  const int bits = GetParam();
  constexpr size_t rows = 37, groups = 3;
  const std::vector<int8_t> points = codes_of(rows * groups, bits);
  std::vector<uint32_t> words(packed_words(rows, bits) * groups);
  pack_zero_points(points.data(), rows, groups, bits, words.data());
  for (size_t g = 0; g < groups; ++g) {
    std::vector<int8_t> column;
    for (size_t row = 0; row < rows; ++row) column.push_back(points[row * groups + g]);
    const std::vector<uint32_t> expected = packed(column, bits);
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(words[i * groups + g], expected[i]);
  }
  std::vector<int8_t> back(points.size());
  unpack_zero_points(words.data(), rows, groups, bits, Packing::dense, back.data());
  EXPECT_EQ(back, points);
}

INSTANTIATE_TEST_SUITE_P(Bits, PackedBits, testing::Range(1, 9));

}  // namespace
}  // namespace codecllm
