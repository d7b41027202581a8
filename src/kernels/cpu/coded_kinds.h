// SPDX-License-Identifier: Apache-2.0
// Bit planes back to lanes with pdep: one instruction puts every bit of a plane where its element is, and the result is the
// mask of a byte add. No step depends on the data but through the positions, which need only a popcount. Here is how each kind
// of element is put together from its fixed bits and its class (codec/coded_view.h).
#pragma once

#include "kernels/cpu/byte_lanes.h"
#include "kernels/views.h"

namespace codecllm::CODECLLM_TIER {
namespace {

// One level's stream of digits.
struct PlaneReader {
  const uint8_t* stream;
  int64_t position, end;  // bits

  VEC void clamp() { position = position < end ? position : end; }
  VEC void ask(int64_t bytes) const { prefetch(stream + (position >> 3) + bytes); }
  VEC void clamp_downwards() { position = position > 0 ? position : 0; }

  // The same for a stream that is read from its end: the planes lie below the position.
  template <int kBits>
  VEC void add_below(vb& v, uint64_t mask, int unit) {
    const int count = static_cast<int>(_mm_popcnt_u64(mask));
    position -= count * kBits;
    uint64_t word = load64(stream + (position >> 3)) >> (position & 7);
    for (int b = 0; b < kBits; ++b, word >>= count & 63) v = add_where(v, _pdep_u64(word, mask), unit << b);
  }

  // The next plane of signs.
  VEC uint64_t signs_below(uint64_t mask) {
    position -= static_cast<int>(_mm_popcnt_u64(mask));
    return _pdep_u64(load64(stream + (position >> 3)) >> (position & 7), mask);
  }

  // Adds the digit of every lane in `mask`, times `unit`; returns the lanes whose digit is all ones.
  template <int kBits>
  VEC uint64_t add(vb& v, uint64_t mask, int unit) {
    const int count = static_cast<int>(_mm_popcnt_u64(mask));
    uint64_t word = load64(stream + (position >> 3)) >> (position & 7);
    position += count * kBits;
    uint64_t full = mask;
    for (int b = 0; b < kBits; ++b, word >>= count & 63) {
      const uint64_t plane = _pdep_u64(word, mask);
      v = add_where(v, plane, unit << b);
      full &= plane;
    }
    return full;
  }
};

struct PanelReaders {
  PlaneReader second, third, fourth;
};

// A block on its way: what open() found, which finish() completes.
struct Lanes {
  vb v, raw;
  uint64_t more;  // elements with a second digit; after it, those with a third
};

// Codes + 128. fixed: the fields of low bits, first digit and sign.
template <bool kOdd, int kLow, int kFirstBits>
struct IntegerBlock {
  static constexpr int kFirst = kFirstBits, kFixed = kLow + kFirst + 1, kBytes = 1, kUnit = 1 << kLow;
  static constexpr bool kOwnSign = kFixed % 2 == 1;  // the sign has a plane of its own
  VEC static void prepare(const CodeShape&, uint8_t (&)[2][16]) {}

  VEC static Lanes open(const uint8_t* fixed) {
    vb v;
    if constexpr (kFixed == 8) {
      v = load_bytes(fixed);
    } else if constexpr ((kFixed & 6) == 6) {
      v = bit_or(load_nibbles(fixed), load_pairs<4>(fixed + 32));
    } else if constexpr ((kFixed & 4) != 0) {
      v = load_nibbles(fixed);
    } else {
      v = load_pairs<0>(fixed);
    }
    const vb raw = v;
    if constexpr (!kOwnSign) v = bit_and(v, set1_byte((1 << (kFixed - 1)) - 1));
    return {v, raw, at_least(v, ((1 << kFirst) - 1) << kLow)};
  }

  VEC static void finish(const Lanes& lanes, const uint8_t* fixed, PanelReaders&, const uint8_t (&)[2][16], uint8_t* out) {
    const uint64_t negative = kOwnSign ? load64(fixed + (kFixed - 1) * 8) : any_bits(lanes.raw, 1 << (kFixed - 1));
    vb v = lanes.v;
    if constexpr (kOdd) {
      v = bit_xor(add_bytes(v, v), set1_byte(0x80));
      v = invert_where(bit_or(v, set1_byte(1)), negative, v);
    } else {
      v = bit_xor(v, set1_byte(0x80));
      v = invert_where(v, negative, v);
    }
    store_bytes(out, v);
  }
};

// Codes + 128 of elements that are often zero. fixed: which are not.
struct SparseBlock {
  static constexpr int kFirst = 1, kFixed = 1, kBytes = 1, kUnit = 1;
  VEC static void prepare(const CodeShape&, uint8_t (&)[2][16]) {}

  VEC static Lanes open(const uint8_t* fixed) {
    const vb none = set1_byte(0);
    const uint64_t more = load64(fixed);
    return {add_where(none, more, 1), none, more};
  }

  VEC static void finish(const Lanes& lanes, const uint8_t* fixed, PanelReaders& streams, const uint8_t (&)[2][16], uint8_t* out) {
    const uint64_t negative = streams.fourth.signs_below(load64(fixed));
    // 128 - v = 255 - (v + 127)
    store_bytes(out, invert_where(add_bytes(lanes.v, set1_byte(0x80)), negative, add_bytes(lanes.v, set1_byte(0x7F))));
  }
};

// First digits alone, of two or three bits: fields of two bits, then of one.
template <int kFirst>
VEC vb load_digits(const uint8_t* fields) {
  const vb v = load_pairs<0>(fields);
  return kFirst == 2 ? v : add_where(v, load64(fields + 16), 4);
}

// 8-bit floats: a nibble of sign and three bits of mantissa, and a digit.
template <int kFirstBits>
struct Float8Block {
  static constexpr int kFirst = kFirstBits, kFixed = 4 + kFirst, kBytes = 1, kUnit = 1;
  VEC static void prepare(const CodeShape& shape, uint8_t (&tables)[2][16]) {
    for (int i = 0; i < kClasses; ++i) tables[0][i] = static_cast<uint8_t>((shape.table[i] & 15) << 3);
  }

  VEC static Lanes open(const uint8_t* fixed) {
    const vb v = load_digits<kFirst>(fixed + 32);
    return {v, load_nibbles(fixed), at_least(v, (1 << kFirst) - 1)};
  }

  VEC static void finish(const Lanes& lanes, const uint8_t*, PanelReaders&, const uint8_t (&tables)[2][16], uint8_t* out) {
    store_bytes(out, bit_or(look_up(tables[0], lanes.v), add_where(lanes.raw, any_bits(lanes.raw, 8), 0x80 - 8)));
  }
};

// BF16, and the upper half of F32: eight raw bits (sign, seven of mantissa) and a digit.
// tables: the exponent's seven high bits, and its low bit where a BF16's low byte has it.
template <bool kWide, int kFirstBits>
struct BfloatBlock {
  static constexpr int kFirst = kFirstBits, kFixed = (kWide ? 24 : 8) + kFirst, kBytes = kWide ? 4 : 2, kUnit = 1;
  static constexpr int kRaw = kWide ? 128 : 0;
  VEC static void prepare(const CodeShape& shape, uint8_t (&tables)[2][16]) {
    for (int i = 0; i < kClasses; ++i) {
      tables[0][i] = shape.table[i] >> 1;
      tables[1][i] = static_cast<uint8_t>(shape.table[i] << 7);
    }
  }

  VEC static Lanes open(const uint8_t* fixed) {
    const vb v = load_digits<kFirst>(fixed + kRaw + 64);
    return {v, load_bytes(fixed + kRaw), at_least(v, (1 << kFirst) - 1)};
  }

  VEC static void finish(const Lanes& lanes, const uint8_t* fixed, PanelReaders&, const uint8_t (&tables)[2][16], uint8_t* out) {
    const vb high = select_bits(set1_byte(0x80), lanes.raw, look_up(tables[0], lanes.v));
    const vb low = select_bits(set1_byte(0x7F), lanes.raw, look_up(tables[1], lanes.v));
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
template <int kFirstBits>
struct HalfBlock {
  static constexpr int kFirst = kFirstBits, kFixed = 11 + kFirst, kBytes = 2, kUnit = 1;
  VEC static void prepare(const CodeShape& shape, uint8_t (&tables)[2][16]) {
    for (int i = 0; i < kClasses; ++i) tables[0][i] = static_cast<uint8_t>((shape.table[i] & 31) << 2);
  }

  VEC static Lanes open(const uint8_t* fixed) {
    const vb nibble = load_nibbles(fixed + 64);
    const uint64_t one = any_bits(nibble, 8);
    if constexpr (kFirst == 3) {
      const vb v = add_where(load_pairs<1>(fixed + 96), one, 1);
      return {v, nibble, at_least(v, 7)};
    }
    const uint64_t two = load64(fixed + 96);
    return {add_where(add_where(set1_byte(0), one, 1), two, 2), nibble, one & two};
  }

  VEC static void finish(const Lanes& lanes, const uint8_t* fixed, PanelReaders&, const uint8_t (&tables)[2][16], uint8_t* out) {
    const vb low = load_bytes(fixed);
    vb high = bit_or(look_up(tables[0], lanes.v), bit_and(lanes.raw, set1_byte(3)));
    high = add_where(high, any_bits(lanes.raw, 4), 0x80);
    store_bytes(out, interleave8_low(low, high));
    store_bytes(out + 64, interleave8_high(low, high));
  }
};

}  // namespace
}  // namespace codecllm::CODECLLM_TIER
