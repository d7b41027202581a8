// SPDX-License-Identifier: Apache-2.0
// Exact dot products of unsigned 8-bit codes with integer activations, sixteen rows at a time. The unit is four columns:
// one 32-bit lane of codes per row, and four activation codes (of one or two bytes) for all rows.
//
// WordDot is for 16-bit activations, ByteDot for INT8. Each has
//   Unit, load(line), load_nibbles(line, first, second)
//   Sum, start(zeros, offset, sums): what corrects for the codes that stand for zero (`offset` where none are given)
//   broadcast(activation); step(sum, unit, broadcast); fold(sum), at the latest after kFoldColumns; add_to(sum, other)
//   to_float(sum): the same bits on every tier
//   store(out, codes, high, low): sixteen codes (as int32) to four units
#pragma once

#include "kernels/cpu/vec.h"

namespace codecllm::CODECLLM_TIER {
namespace {

constexpr int kUnitColumns = 4;

// The exact sum as 256 * high + low with 0 <= low < 256, then to float.
VEC vf halves_to_float(vi high, vi low) {
  return add(mul(to_float(add(high, high_part(low))), set1(256.0f)), to_float(low_part(low)));
}

#if defined(__AVX512VNNI__)

// The multiply-add that the products are made of, and what it counts for. Sums wrap, so that only the last must fit.
// Written out: with the intrinsic, whose vectors are of another type than __m512i, g++ 12 keeps each sum twice, and a tile's
// sums no longer fit the registers.
constexpr double kMultiplyAddOps = 2 * 64;
VEC vi multiply_add(vi sum, vi a, vi b) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
}

struct RawUnits {
  using Unit = __m512i;
  static constexpr int kFoldColumns = 1 << 30;  // never: kMaxIntColumns keeps the sums below 2^31
  VEC static Unit load(const uint8_t* line) { return _mm512_loadu_si512(line); }
  VEC static void load_nibbles(const uint8_t* line, Unit& first, Unit& second) {
    const __m512i bytes = _mm512_loadu_si512(line), mask = _mm512_set1_epi8(15);
    first = _mm512_and_si512(bytes, mask);
    second = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), mask);
  }
};

// Activation unit: high bytes of four columns, then their low bytes (signed).
struct WordDot : RawUnits {
  static constexpr int kHalves = 2, kUnitBytes = 8;
  struct Sum {
    vi high, low;
  };
  VEC static Sum zero() { return {zero_int(), zero_int()}; }
  VEC static Sum start(vi zeros, int32_t, const int32_t* sums) {
    return {mul(zeros, set1_int(-sums[0])), mul(zeros, set1_int(-sums[1]))};
  }
  struct Activation {
    vi high, low;
  };
  VEC static Activation broadcast(const uint8_t* at) { return {set1_int(load32(at)), set1_int(load32(at + 4))}; }
  VEC static void step(Sum& sum, Unit codes, const Activation& x) {
    sum.high = multiply_add(sum.high, codes, x.high);
    sum.low = multiply_add(sum.low, codes, x.low);
  }
  VEC static void fold(Sum&) {}
  VEC static void add_to(Sum& sum, const Sum& other) {
    sum.high = add(sum.high, other.high);
    sum.low = add(sum.low, other.low);
  }
  VEC static vf to_float(const Sum& sum) { return halves_to_float(sum.high, sum.low); }
  VEC static void store(uint8_t* out, vi codes, vi& high, vi& low) {
    low = _mm512_srai_epi32(_mm512_slli_epi32(codes, 24), 24);
    high = _mm512_srai_epi32(_mm512_sub_epi32(codes, low), 8);
    const __m128i h = _mm512_cvtepi32_epi8(high), l = _mm512_cvtepi32_epi8(low);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_unpacklo_epi32(h, l));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 16), _mm_unpackhi_epi32(h, l));
  }
};

struct ByteDot : RawUnits {
  static constexpr int kHalves = 1, kUnitBytes = 4;
  using Sum = vi;
  VEC static Sum zero() { return zero_int(); }
  VEC static Sum start(vi zeros, int32_t, const int32_t* sums) { return mul(zeros, set1_int(-sums[0])); }
  VEC static vi broadcast(const uint8_t* at) { return set1_int(load32(at)); }
  VEC static void step(Sum& sum, Unit codes, vi x) { sum = multiply_add(sum, codes, x); }
  VEC static void fold(Sum&) {}
  VEC static void add_to(Sum& sum, const Sum& other) { sum = add(sum, other); }
  VEC static vf to_float(const Sum& sum) { return CODECLLM_TIER::to_float(sum); }
  VEC static void store(uint8_t* out, vi codes, vi& high, vi& low) {
    high = low = codes;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(codes));
  }
};

#else

constexpr double kMultiplyAddOps = 2 * 32;
VEC vi multiply_add(vi sum, vi a, vi b) { return add_pairs(sum, a, b); }

VEC void nibbles(__m256i bytes, __m256i& first, __m256i& second) {
  const __m256i mask = _mm256_set1_epi8(15);
  first = _mm256_and_si256(bytes, mask);
  second = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), mask);
}

// vpmaddubsw would saturate with unsigned codes (255 * 128 * 2 > 32767), so here they are widened to 16 bits: even
// columns, odd columns. Activation unit: int16 of columns 0 2 1 3.
struct WordDot {
  static constexpr int kHalves = 2, kUnitBytes = 8;
  static constexpr int kFoldColumns = 256;  // 255 * 32639 * 256 < 2^31
  struct Unit {
    vi even, odd;
  };
  struct Sum {
    vi partial, high, low;
  };
  VEC static Unit widen(__m256i a, __m256i b) {
    const __m256i mask = _mm256_set1_epi16(255);
    return {{_mm256_and_si256(a, mask), _mm256_and_si256(b, mask)}, {_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8)}};
  }
  VEC static Unit load(const uint8_t* line) { return widen(load256(line), load256(line + 32)); }
  VEC static void load_nibbles(const uint8_t* line, Unit& first, Unit& second) {
    __m256i a0, a1, b0, b1;
    nibbles(load256(line), a0, a1);
    nibbles(load256(line + 32), b0, b1);
    first = widen(a0, b0);
    second = widen(a1, b1);
  }
  VEC static Sum zero() { return {zero_int(), zero_int(), zero_int()}; }
  VEC static Sum start(vi zeros, int32_t, const int32_t* sums) {
    return {zero_int(), mul(zeros, set1_int(-sums[0])), mul(zeros, set1_int(-sums[1]))};
  }
  struct Activation {
    __m256i even, odd;
  };
  VEC static Activation broadcast(const uint8_t* at) { return {_mm256_set1_epi32(load32(at)), _mm256_set1_epi32(load32(at + 4))}; }
  VEC static void step(Sum& sum, const Unit& codes, const Activation& x) {
    sum.partial = multiply_add(sum.partial, codes.even, {x.even, x.even});
    sum.partial = multiply_add(sum.partial, codes.odd, {x.odd, x.odd});
  }
  VEC static void fold(Sum& sum) {
    sum.high = add(sum.high, high_part(sum.partial));
    sum.low = add(sum.low, low_part(sum.partial));
    sum.partial = zero_int();
  }
  VEC static void add_to(Sum& sum, const Sum& other) {
    sum.high = add(sum.high, other.high);
    sum.low = add(sum.low, other.low);
  }
  VEC static vf to_float(const Sum& sum) { return halves_to_float(sum.high, sum.low); }
  VEC static void store(uint8_t* out, vi codes, vi& high, vi& low) {
    low = {_mm256_srai_epi32(_mm256_slli_epi32(codes.a, 24), 24), _mm256_srai_epi32(_mm256_slli_epi32(codes.b, 24), 24)};
    high = high_part(sub(codes, low));
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(codes.a, codes.b), 0xD8);
    const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15,  //
                                           0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_shuffle_epi8(words, order));
  }
};

// Magnitudes of signed codes times activations with the codes' signs: 128 * 127 * 2 < 32768, so that vpmaddubsw is exact.
struct ByteDot {
  static constexpr int kHalves = 1, kUnitBytes = 4;
  static constexpr int kFoldColumns = 1 << 30;  // never
  struct Unit {
    vi code, magnitude;
  };
  using Sum = vi;
  VEC static Unit split(__m256i a, __m256i b) { return {{a, b}, {_mm256_abs_epi8(a), _mm256_abs_epi8(b)}}; }
  VEC static Unit load(const uint8_t* line) {
    const __m256i offset = _mm256_set1_epi8(-128);
    return split(_mm256_xor_si256(load256(line), offset), _mm256_xor_si256(load256(line + 32), offset));
  }
  VEC static void load_nibbles(const uint8_t* line, Unit& first, Unit& second) {
    __m256i a0, a1, b0, b1;
    nibbles(load256(line), a0, a1);
    nibbles(load256(line + 32), b0, b1);
    const __m256i offset = _mm256_set1_epi8(8);
    first = split(_mm256_sub_epi8(a0, offset), _mm256_sub_epi8(b0, offset));
    second = split(_mm256_sub_epi8(a1, offset), _mm256_sub_epi8(b1, offset));
  }
  VEC static Sum zero() { return zero_int(); }
  VEC static Sum start(vi zeros, int32_t offset, const int32_t* sums) {
    return mul(sub(set1_int(offset), zeros), set1_int(sums[0]));
  }
  VEC static __m256i broadcast(const uint8_t* at) { return _mm256_set1_epi32(load32(at)); }
  VEC static void step(Sum& sum, const Unit& w, __m256i x) {
    const __m256i ones = _mm256_set1_epi16(1);
    const vi pairs = {_mm256_maddubs_epi16(w.magnitude.a, _mm256_sign_epi8(x, w.code.a)),
                      _mm256_maddubs_epi16(w.magnitude.b, _mm256_sign_epi8(x, w.code.b))};
    sum = multiply_add(sum, pairs, {ones, ones});
  }
  VEC static void fold(Sum&) {}
  VEC static void add_to(Sum& sum, const Sum& other) { sum = add(sum, other); }
  VEC static vf to_float(const Sum& sum) { return CODECLLM_TIER::to_float(sum); }
  VEC static void store(uint8_t* out, vi codes, vi& high, vi& low) {
    high = low = codes;
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(codes.a, codes.b), 0xD8);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
  }
};

#endif

// The unsigned codes that stand for zero, sixteen from `index` on.
VEC vi load_zeros(const MatrixView& w, int64_t index) {
  return w.zeros == nullptr ? set1_int(traits(w.element).offset) : load_u8(w.zeros + index);
}

// What the sum of row m with a panel's group begins with; index: of the group among all panels' groups, group: in its row.
template <class Dot>
VEC typename Dot::Sum start_sum(vi zeros, const MatrixView& w, int64_t index, const IntActivations& x, int64_t m, int64_t group) {
  auto sum = Dot::start(zeros, traits(w.element).offset, x.sums + (m * w.groups() + group) * Dot::kHalves);
  if constexpr (Dot::kHalves == 1)
    if (x.zeros != nullptr) sum = sub(sum, mul(load_int(w.code_sums + index * kPanelRows), set1_int(x.zeros[m])));
  return sum;
}

}  // namespace
}  // namespace codecllm::CODECLLM_TIER
