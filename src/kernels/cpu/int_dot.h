// SPDX-License-Identifier: Apache-2.0
// Exact dot products of unsigned 8-bit codes with 16-bit activations, sixteen rows at a time. The unit is four columns:
// one 32-bit lane of codes per row, eight bytes of activation codes for all rows.
#pragma once

#include "kernels/cpu/vec.h"

namespace codecllm::CODECLLM_TIER {
namespace {

VEC int32_t load32(const uint8_t* p) {
  int32_t x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}

constexpr int kUnitColumns = 4;
constexpr int kUnitBytes = 2 * kUnitColumns;  // activation codes of one unit

#if defined(__AVX512VNNI__)

// Activation unit: high bytes of four columns, then their low bytes (signed).
using Unit = __m512i;

struct IntSum {
  vi high, low;
  static constexpr int kFoldColumns = 1 << 30;  // never needed: kMaxIntColumns keeps both below 2^31
  VEC void fold() {}
  VEC void step(Unit codes, const uint8_t* activation) {
    high = _mm512_dpbusd_epi32(high, codes, _mm512_set1_epi32(load32(activation)));
    low = _mm512_dpbusd_epi32(low, codes, _mm512_set1_epi32(load32(activation + 4)));
  }
};
VEC IntSum zero_sum() { return {zero_int(), zero_int()}; }

// The multiply-add that the products are made of, and what it counts for.
constexpr double kMultiplyAddOps = 2 * 64;
VEC vi multiply_add(vi sum, vi a, vi b) { return _mm512_dpbusd_epi32(sum, a, b); }

VEC Unit load_unit(const uint8_t* line) { return _mm512_loadu_si512(line); }
VEC void load_nibble_units(const uint8_t* line, Unit& first, Unit& second) {
  const __m512i bytes = _mm512_loadu_si512(line), mask = _mm512_set1_epi8(15);
  first = _mm512_and_si512(bytes, mask);
  second = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), mask);
}

// Sixteen 16-bit codes (as int32) to 32 bytes of activation units.
VEC void store_units(uint8_t* out, vi codes, vi& high, vi& low) {
  low = _mm512_srai_epi32(_mm512_slli_epi32(codes, 24), 24);
  high = _mm512_srai_epi32(_mm512_sub_epi32(codes, low), 8);
  const __m128i h = _mm512_cvtepi32_epi8(high), l = _mm512_cvtepi32_epi8(low);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_unpacklo_epi32(h, l));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 16), _mm_unpackhi_epi32(h, l));
}

#else

// vpmaddubsw would saturate (255 * 128 * 2 > 32767), so codes are widened to 16 bits: even columns, odd columns.
// Activation unit: int16 of columns 0 2 1 3.
struct Unit {
  vi even, odd;
};

struct IntSum {
  vi partial, high, low;
  static constexpr int kFoldColumns = 256;  // 255 * 32639 * 256 < 2^31
  VEC void fold() {
    high = add(high, high_part(partial));
    low = add(low, low_part(partial));
    partial = zero_int();
  }
  VEC void step(const Unit& codes, const uint8_t* activation) {
    const __m256i even = _mm256_set1_epi32(load32(activation)), odd = _mm256_set1_epi32(load32(activation + 4));
    partial = add(partial, {_mm256_madd_epi16(codes.even.a, even), _mm256_madd_epi16(codes.even.b, even)});
    partial = add(partial, {_mm256_madd_epi16(codes.odd.a, odd), _mm256_madd_epi16(codes.odd.b, odd)});
  }
};
VEC IntSum zero_sum() { return {zero_int(), zero_int(), zero_int()}; }

constexpr double kMultiplyAddOps = 2 * 32;
VEC vi multiply_add(vi sum, vi a, vi b) { return add(sum, {_mm256_madd_epi16(a.a, b.a), _mm256_madd_epi16(a.b, b.b)}); }

VEC Unit widen(__m256i a, __m256i b) {
  const __m256i mask = _mm256_set1_epi16(255);
  return {{_mm256_and_si256(a, mask), _mm256_and_si256(b, mask)}, {_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8)}};
}
VEC Unit load_unit(const uint8_t* line) { return widen(load256(line), load256(line + 32)); }
VEC void load_nibble_units(const uint8_t* line, Unit& first, Unit& second) {
  const __m256i a = load256(line), b = load256(line + 32), mask = _mm256_set1_epi8(15);
  first = widen(_mm256_and_si256(a, mask), _mm256_and_si256(b, mask));
  second = widen(_mm256_and_si256(_mm256_srli_epi16(a, 4), mask), _mm256_and_si256(_mm256_srli_epi16(b, 4), mask));
}

VEC void store_units(uint8_t* out, vi codes, vi& high, vi& low) {
  low = {_mm256_srai_epi32(_mm256_slli_epi32(codes.a, 24), 24), _mm256_srai_epi32(_mm256_slli_epi32(codes.b, 24), 24)};
  const vi rest = sub(codes, low);
  high = high_part(rest);
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(codes.a, codes.b), 0xD8);
  const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15,  //
                                         0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_shuffle_epi8(words, order));
}

#endif

VEC void add_to(IntSum& sum, const IntSum& other) {
  sum.high = add(sum.high, other.high);
  sum.low = add(sum.low, other.low);
}

}  // namespace
}  // namespace codecllm::CODECLLM_TIER
