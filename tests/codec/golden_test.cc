// SPDX-License-Identifier: Apache-2.0
// The test vectors of docs/codec.md: this version stays readable, and the writer still writes it.
#include <gtest/gtest.h>

#include "support.h"

namespace codecllm {
namespace {

// The 512 zero bytes at the end are left out.
constexpr const char* kIntegers =
    "434c4c4d02102202010000000100000001000000000000004000000000000000"
    "c22ac49fbf33cafe80207cf56c06164200000000000000000000000000000000"
    "330000000000000007000000000000000ee35db66859f46ca7702ee57b96e13f"
    "d66a87f24e81790ee35db6681ff46ca756825825085609000000000000051535"
    "4ea367";
constexpr const char* kBrainFloats =
    "434c4c4d02022200010000000100000001000000000000004000000000000000"
    "1d18ddeaa45ec5499bfddee54c8b871175787976779400010203040506070809"
    "56000000000000000600000000000000008b16a12cb742cd60eb76810c9722ad"
    "58e36ef9048f1aa538c34ed964ef7a8530bb46d15ce772fd109b26b13cc752dd"
    "08931ea934bf4ad568f37e89149f2ab56bc49e41f633ed0fde71be13e90c9af1"
    "510461011101";

// First digits of three bits.
constexpr const char* kWideDigits =
    "434c4c4d02022300010000000100000001000000000000004000000000000000"
    "7668feb44204a632b5ab6a21826c95cc75787976776b6e6f9400010203040506"
    "59000000000000000100000000000000008b16a12cb742cd60eb76810c9722ad"
    "58e36ef9048f1aa538c34ed964ef7a8530bb46d15ce772fd109b26b13cc752dd"
    "08931ea934bf4ad568f37e89149f2ab568f49e413403a10cde41b214e90c9a31"
    "8108400c3202508004";

// Odd codes with a fourth digit, 8-bit floats, and codes that are often zero.
constexpr const char* kOdd =
    "434c4c4d02011232010000000100000001000000000000004000000000000000"
    "960b10219f544082506cc8c5f847179800000000000000000000000000000000"
    "37000000000a0000060000000b000000bcdffe3ffbcddff37ffbfdeff37fcffd"
    "70381c0e87c3e170effedffdff3ddff7cecef7fdec7c7fef0010968580b02c14"
    "042d0b000025a5";
constexpr const char* kFloat8 =
    "434c4c4d02051202010000000100000001000000000000004000000000000000"
    "6121f1b1657d59d490221965040a6250070a0b0809000102030405060c0d0e0f"
    "3600000000000000030000000300000000bb669944ff22dd00bb669944ff22dd"
    "00bb669944ff22dd00bb669944ff22dd6bd0e6719e0f69d3f64dbb04ed30afc3"
    "95aa14000000";
constexpr const char* kSparse =
    "434c4c4d02061101010000000100000001000000000000004000000000000000"
    "a7c567fc0ab9df79c3cc74ba124e3f9b00000000000000000000000000000000"
    "160000000000000009000000010000009669cbb465da226dc4ccd02511912516"
    "012a0000348a";

Bytes from_hex(std::string_view hex) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  Bytes out;
  for (size_t i = 0; i < hex.size(); i += 2) out.push_back(static_cast<uint8_t>(digit(hex[i]) * 16 + digit(hex[i + 1])));
  out.resize(out.size() + kCodedSlack);
  return out;
}

Bytes golden_integers() {
  Bytes out;
  for (int i = 0; i < 64; ++i) out.push_back(static_cast<uint8_t>(128 + (i * 37 % 23 - 11) * (i % 16 == 5 ? 5 : 1)));
  return out;
}

// Five exponents, and one element (20) whose exponent stands alone; `spread`: some more.
Bytes golden_brain_floats(bool spread = false) {
  Bytes out;
  for (int i = 0; i < 64; ++i) {
    const int exponent = (i % 7 == 0 ? 119 : i % 5 == 0 ? 118 : i % 3 == 0 ? 120 : 121 - i % 2 * 4) + (i == 20 ? 30 : 0) - (spread && i % 13 == 4 ? i % 11 : 0);
    const int bits = exponent << 7 | (i * 11 & 127) | (i & 1) << 15;
    out.push_back(static_cast<uint8_t>(bits));
    out.push_back(static_cast<uint8_t>(bits >> 8));
  }
  return out;
}

TEST(CodecGolden, Integers) {
  const Bytes golden = from_hex(kIntegers);
  EXPECT_EQ(decode_all(open_coded(golden, "file", "tensor").view), golden_integers());
  const CodeShape shape = {CodeKind::integer, 1, {2, 2, 2}, {}};
  EXPECT_EQ(coded_container(CodeKind::integer, golden_integers(), 1, &shape), golden);
}

Bytes golden_odd() {
  Bytes out;
  for (int i = 0; i < 64; ++i) {
    const int m = i * 37 % 23 * (i % 16 == 5 ? 3 : 1) % 40 / 2 * 2 + 1;
    out.push_back(static_cast<uint8_t>(128 + (i * 29 % 7 < 4 ? m : -m)));
  }
  return out;
}

Bytes golden_float8() {
  Bytes out;
  for (int i = 0; i < 64; ++i) {
    const int exponent = i % 7 == 0 ? 9 : i % 5 == 0 ? 8 : i % 3 == 0 ? 10 : 11 - i % 2 * 4;
    out.push_back(static_cast<uint8_t>(exponent << 3 | (i * 3 & 7) | (i & 1) << 7));
  }
  return out;
}

// One value (52) is larger than the digits can say.
Bytes golden_sparse() {
  Bytes out;
  for (int i = 0; i < 64; ++i) {
    const int m = i % 3 == 0 || i % 5 == 0 ? 0 : 1 + (i % 7 == 0 ? 1 : 0) + (i % 11 == 0 ? 2 : 0) + (i == 52 ? 9 : 0);
    out.push_back(static_cast<uint8_t>(128 + (i % 4 < 2 ? m : -m)));
  }
  return out;
}

void expect_golden(const char* hex, CodeKind kind, const Bytes& elements) {
  const Bytes golden = from_hex(hex);
  const CodedTensor opened = open_coded(golden, "file", "tensor");
  EXPECT_EQ(opened.header.shape.kind, kind);
  EXPECT_EQ(decode_all(opened.view), elements);
  EXPECT_EQ(coded_container(kind, elements, 1, &opened.header.shape), golden);
}

TEST(CodecGolden, Odd) { expect_golden(kOdd, CodeKind::odd, golden_odd()); }
TEST(CodecGolden, Float8) { expect_golden(kFloat8, CodeKind::e4m3, golden_float8()); }
TEST(CodecGolden, Sparse) { expect_golden(kSparse, CodeKind::sparse, golden_sparse()); }

TEST(CodecGolden, WideDigits) { expect_golden(kWideDigits, CodeKind::bf16, golden_brain_floats(true)); }

TEST(CodecGolden, BrainFloats) {
  const Bytes golden = from_hex(kBrainFloats);
  const CodedTensor opened = open_coded(golden, "file", "tensor");
  EXPECT_EQ(decode_all(opened.view), golden_brain_floats());
  EXPECT_EQ(coded_container(CodeKind::bf16, golden_brain_floats(), 1, &opened.header.shape), golden);
}

}  // namespace
}  // namespace codecllm
