// SPDX-License-Identifier: Apache-2.0
// The test vectors of docs/codec.md: version 1 stays readable, and the writer still writes it.
#include <gtest/gtest.h>

#include "support.h"

namespace codecllm {
namespace {

// The 512 zero bytes at the end are left out.
constexpr const char* kIntegers =
    "434c4c4d01000122010000000100000001000000000000004000000000000000"
    "c22ac49fbf33cafe5488920f092ff8b600000000000000000000000000000000"
    "330000000000000007000000000000000ee35db66859f46ca7702ee57b96e13f"
    "d66a87f24e81790ee35db6681ff46ca70e3ce011292421000000000000051535"
    "4ea367";
constexpr const char* kBrainFloats =
    "434c4c4d01020002010000000100000001000000000000008000000000000000"
    "1d18ddeaa45ec549d607643dd99e5d8a75787976779400010203040506070809"
    "56000000000000000600000000000000008b16a12cb742cd60eb76810c9722ad"
    "58e36ef9048f1aa538c34ed964ef7a8530bb46d15ce772fd109b26b13cc752dd"
    "08931ea934bf4ad568f37e89149f2ab56bc49e41f633ed0fde71be13e90c9af1"
    "2d1915800000";

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

// Five exponents, and one element (20) whose exponent stands alone.
Bytes golden_brain_floats() {
  Bytes out;
  for (int i = 0; i < 64; ++i) {
    const int exponent = (i % 7 == 0 ? 119 : i % 5 == 0 ? 118 : i % 3 == 0 ? 120 : 121 - i % 2 * 4) + (i == 20 ? 30 : 0);
    const int bits = exponent << 7 | (i * 11 & 127) | (i & 1) << 15;
    out.push_back(static_cast<uint8_t>(bits));
    out.push_back(static_cast<uint8_t>(bits >> 8));
  }
  return out;
}

TEST(CodecGolden, Integers) {
  const Bytes golden = from_hex(kIntegers);
  EXPECT_EQ(decode_all(open_coded(golden, "file", "tensor").view), golden_integers());
  const CodeShape shape = {CodeKind::integer, 1, 2, 2, {}};
  EXPECT_EQ(coded_container(CodeKind::integer, golden_integers(), 1, &shape), golden);
}

TEST(CodecGolden, BrainFloats) {
  const Bytes golden = from_hex(kBrainFloats);
  EXPECT_EQ(decode_all(open_coded(golden, "file", "tensor").view), golden_brain_floats());
  EXPECT_EQ(coded_container(CodeKind::bf16, golden_brain_floats(), 1), golden);
}

}  // namespace
}  // namespace codecllm
