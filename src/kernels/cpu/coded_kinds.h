// SPDX-License-Identifier: Apache-2.0
// How each kind of element is put together from its fixed bits and its class (codec/coded_view.h).
#pragma once

#include "kernels/cpu/byte_lanes.h"
#include "kernels/views.h"

namespace codecllm::CODECLLM_TIER {
namespace {

// What the fixed bits of a block say: first digits (over low bits, of integers) in v, and which lanes have a second.
struct Opened {
  vb v, raw;
  uint64_t more;
};

// Codes + 128. fixed: low bits, first digit and sign, kFixedBits in all. v has its highest bit set: there codes are 128 and more.
template <bool kOdd, int kFixedBits>
struct IntegerBlock {
  static constexpr int kFixed = kFixedBits, kBytes = 1;
  static constexpr bool kOwnSign = kFixed % 2 == 1;  // the sign is a field of its own
  const vb below;  // v is above this where the first digit is all ones

  VEC explicit IntegerBlock(const CodeShape& shape) : below(set1_byte(0x80 + (((1 << shape.digit_bits[0]) - 1) << shape.low_bits) - 1)) {}

  VEC Opened open(const uint8_t* fixed) const {
    vb raw;
    if constexpr (kFixed == 8) {
      raw = load_bytes(fixed);
    } else if constexpr ((kFixed & 6) == 6) {
      raw = select_bits(set1_byte(15), spread_nibbles(fixed), spread_pairs<4>(fixed + 32));
    } else if constexpr ((kFixed & 4) != 0) {
      raw = spread_nibbles(fixed);
    } else {
      raw = spread_pairs<0>(fixed);
    }
    const vb v = and_or(raw, set1_byte((1 << (kFixed - 1)) - 1), set1_byte(0x80));
    return {v, raw, above(v, below)};
  }

  VEC void finish(const Opened& opened, vb v, const uint8_t* fixed, uint8_t* out) const {
    const uint64_t negative = kOwnSign ? load64(fixed + (kFixed - 1) * 8) : any_bits(opened.raw, 1 << (kFixed - 1));
    vb inverted = v;
    if constexpr (kOdd) {
      v = bit_xor(add_bytes(v, v), set1_byte(0x80));
      inverted = v;
      v = bit_or(v, set1_byte(1));
    }
    store_bytes(out, invert_where(v, negative, inverted));
  }
};

// Codes + 128 of elements that are often zero. fixed: which are not. What digits add stands above the sign.
struct SparseBlock {
  static constexpr int kFixed = 1, kBytes = 1;
  VEC explicit SparseBlock(const CodeShape&) {}

  VEC Opened open(const uint8_t* fixed) const {
    const vb none = set1_byte(0);
    const uint64_t more = load64(fixed);
    return {add_where(none, more, 2), none, more};
  }

  VEC void finish(const Opened&, vb v, const uint8_t*, uint8_t* out) const {
    const uint64_t negative = any_bits(v, 1);
    v = halve_bytes(v);
    // 128 - v = 255 - (v + 127)
    store_bytes(out, invert_where(add_bytes(v, set1_byte(0x80)), negative, add_bytes(v, set1_byte(0x7F))));
  }
};

// First digits alone, of two or three bits: fields of two bits, then of one.
template <int kFirst>
VEC vb load_digits(const uint8_t* fields) {
  const vb v = load_pairs<0>(fields);
  return kFirst == 2 ? v : add_where(v, load64(fields + 16), 4);
}

// byte(exponent) for every class, to be looked up.
template <class Byte>
VEC vb class_table(const CodeShape& shape, const Byte& byte) {
  uint8_t table[kClasses];
  for (int i = 0; i < kClasses; ++i) table[i] = static_cast<uint8_t>(byte(shape.table[i]));
  return repeat16(table);
}

// 8-bit floats: a nibble of sign and three bits of mantissa, and a digit.
template <int kFirst>
struct Float8Block {
  static constexpr int kFixed = 4 + kFirst, kBytes = 1;
  const vb exponents;

  VEC explicit Float8Block(const CodeShape& shape) : exponents(class_table(shape, [](int exponent) { return (exponent & 15) << 3; })) {}

  VEC Opened open(const uint8_t* fixed) const {
    const vb v = load_digits<kFirst>(fixed + 32);
    return {v, load_nibbles(fixed), above(v, set1_byte((1 << kFirst) - 2))};
  }

  VEC void finish(const Opened& opened, vb v, const uint8_t*, uint8_t* out) const {
    store_bytes(out, bit_or(look_up(exponents, v), add_where(opened.raw, any_bits(opened.raw, 8), 0x80 - 8)));
  }
};

// BF16, and the upper half of F32: eight raw bits (sign, seven of mantissa) and a digit.
template <bool kWide, int kFirst>
struct BfloatBlock {
  static constexpr int kFixed = (kWide ? 24 : 8) + kFirst, kBytes = kWide ? 4 : 2;
  static constexpr int kRaw = kWide ? 128 : 0;
  const vb exponents;  // turned right by one bit: the high byte has seven of them, the low byte the lowest

  VEC explicit BfloatBlock(const CodeShape& shape) : exponents(class_table(shape, [](int exponent) { return exponent >> 1 | exponent << 7; })) {}

  VEC Opened open(const uint8_t* fixed) const {
    const vb v = load_digits<kFirst>(fixed + kRaw + 64);
    return {v, load_bytes(fixed + kRaw), above(v, set1_byte((1 << kFirst) - 2))};
  }

  VEC void finish(const Opened& opened, vb v, const uint8_t* fixed, uint8_t* out) const {
    const vb exponent = look_up(exponents, v);
    const vb high = select_bits(set1_byte(0x80), opened.raw, exponent), low = select_bits(set1_byte(0x7F), opened.raw, exponent);
    const vb a = interleave8_low(low, high), b = interleave8_high(low, high);
    if constexpr (kWide) {
      const vb first = load_bytes(fixed), next = load_bytes(fixed + 64);
      const vb c = interleave8_low(first, next), d = interleave8_high(first, next);
      store_bytes(out, interleave16_low(c, a));
      store_bytes(out + 64, interleave16_high(c, a));
      store_bytes(out + 128, interleave16_low(d, b));
      store_bytes(out + 192, interleave16_high(d, b));
    } else {
      store_bytes(out, a);
      store_bytes(out + 64, b);
    }
  }
};

template <int kFirst>
using Bf16Block = BfloatBlock<false, kFirst>;
template <int kFirst>
using F32Block = BfloatBlock<true, kFirst>;

// F16: eight raw bits, a nibble of three raw bits (two of mantissa, the sign) and the digit's low bit, the digit's high bits.
template <int kFirst>
struct HalfBlock {
  static constexpr int kFixed = 11 + kFirst, kBytes = 2;
  const vb exponents;

  VEC explicit HalfBlock(const CodeShape& shape) : exponents(class_table(shape, [](int exponent) { return (exponent & 31) << 2; })) {}

  VEC Opened open(const uint8_t* fixed) const {
    const vb nibble = load_nibbles(fixed + 64);
    vb v = kFirst == 3 ? load_pairs<1>(fixed + 96) : add_where(set1_byte(0), load64(fixed + 96), 2);
    v = add_where(v, any_bits(nibble, 8), 1);
    return {v, nibble, above(v, set1_byte((1 << kFirst) - 2))};
  }

  VEC void finish(const Opened& opened, vb v, const uint8_t* fixed, uint8_t* out) const {
    const vb low = load_bytes(fixed);
    vb high = bit_or(look_up(exponents, v), bit_and(opened.raw, set1_byte(3)));
    high = add_where(high, any_bits(opened.raw, 4), 0x80);
    store_bytes(out, interleave8_low(low, high));
    store_bytes(out + 64, interleave8_high(low, high));
  }
};

}  // namespace
}  // namespace codecllm::CODECLLM_TIER
