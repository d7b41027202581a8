// SPDX-License-Identifier: Apache-2.0
// Sixteen lanes of float and int32 for every tier: one 512-bit register, or two of 256 bits. The only place that asks
// the compiler which instructions a tier has. Everything is internal to the including file, so that no copy made for
// one tier can be linked into another.
#pragma once

#include <immintrin.h>
#include <stdint.h>

#include "kernels/table.h"

namespace codecllm::CODECLLM_TIER {
namespace {

#define VEC [[gnu::always_inline, maybe_unused]] inline

#if defined(__AVX512F__)

using vf = __m512;
using vi = __m512i;
constexpr bool kWideVectors = true;
#ifdef CODECLLM_SANITIZED
constexpr bool kManyRegisters = false;  // a large tile, instrumented, takes compilers minutes
#else
constexpr bool kManyRegisters = true;  // 32 of 512 bits
#endif

// Keeps a value unknown to the compiler, so that a loop over it is neither folded nor hoisted.
VEC void opaque(vf& v) { asm volatile("" : "+v"(v)); }
VEC void opaque(vi& v) { asm volatile("" : "+v"(v)); }

VEC vf load(const float* p) { return _mm512_loadu_ps(p); }
VEC vf load_n(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p); }
VEC void store(float* p, vf v) { _mm512_storeu_ps(p, v); }
VEC void store_n(float* p, vf v, int64_t n) { _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v); }
VEC vf set1(float x) { return _mm512_set1_ps(x); }
VEC vf zero() { return _mm512_setzero_ps(); }
VEC vf add(vf a, vf b) { return _mm512_add_ps(a, b); }
VEC vf sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
VEC vf mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
VEC vf div(vf a, vf b) { return _mm512_div_ps(a, b); }
VEC vf fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
// x86's maximum gives the SECOND operand when either is NaN.
VEC vf max(vf a, vf b) { return _mm512_max_ps(a, b); }
VEC vf min(vf a, vf b) { return _mm512_min_ps(a, b); }
VEC vf abs(vf a) { return _mm512_abs_ps(a); }
VEC vf round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
VEC vi to_int(vf a) { return _mm512_cvtps_epi32(a); }
VEC vf to_float(vi a) { return _mm512_cvtepi32_ps(a); }
VEC vf scale_by_power(vf a, vf power) { return _mm512_scalef_ps(a, power); }
VEC float sum(vf a) {
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  const __m128 quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  const __m128 pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
  return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}
VEC float largest(vf a) { return _mm512_reduce_max_ps(a); }

VEC vf load_f16(const uint16_t* p) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
VEC void store_f16(uint16_t* p, vf v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
VEC vf load_bf16(const uint16_t* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
// Sixteen pairs of BF16: the first of each pair, and the second.
VEC void load_bf16_pairs(const uint16_t* p, vf& first, vf& second) {
  const __m512i pairs = _mm512_loadu_si512(p);
  first = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
  second = _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xFFFF0000u))));
}

// A line of 8-bit floats, four columns of sixteen rows. E5M2 is the upper half of an F16; E4M3, its magnitude one bit
// lower, is an F16 that is kE4m3Unit times too small.
VEC void load_float8(const __m512i& first, const __m512i& second, vf (&columns)[4]) {
  columns[0] = _mm512_cvtph_ps(_mm512_castsi512_si256(first));
  columns[1] = _mm512_cvtph_ps(_mm512_castsi512_si256(second));
  columns[2] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(first, 1));
  columns[3] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(second, 1));
}
VEC void load_e5m2(const uint8_t* line, vf (&columns)[4]) {
  const __m512i pairs = _mm512_loadu_si512(line);
  load_float8(_mm512_slli_epi16(pairs, 8), _mm512_and_si512(pairs, _mm512_set1_epi16(static_cast<short>(0xFF00))), columns);
}
VEC void load_e4m3(const uint8_t* line, vf (&columns)[4]) {  // the shift keeps the sign, the mask drops its copy
  const __m512i pairs = _mm512_loadu_si512(line), mask = _mm512_set1_epi16(static_cast<short>(0xBF80));
  load_float8(_mm512_and_si512(_mm512_srai_epi16(_mm512_slli_epi16(pairs, 8), 1), mask),
              _mm512_and_si512(_mm512_srai_epi16(pairs, 1), mask), columns);
}
// Sixteen in a row, kE4m3Unit times too small.
VEC vf load_e4m3(const uint8_t* p) {  // widening copies the sign, the mask drops the copy beside the exponent
  const __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm512_cvtph_ps(_mm256_and_si256(_mm256_slli_epi16(wide, 7), _mm256_set1_epi16(static_cast<short>(0xBF80))));
}
// The exponent of a float alone: a power of two, or zero.
VEC vf exponent_part(vf a) { return _mm512_and_ps(a, _mm512_castsi512_ps(_mm512_set1_epi32(0x7F800000))); }

VEC vi load_int(const void* p) { return _mm512_loadu_si512(p); }
VEC vi load_u8(const uint8_t* p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
VEC vi set1_int(int32_t x) { return _mm512_set1_epi32(x); }
VEC vi add(vi a, vi b) { return _mm512_add_epi32(a, b); }
VEC vi sub(vi a, vi b) { return _mm512_sub_epi32(a, b); }
VEC vi mul(vi a, vi b) { return _mm512_mullo_epi32(a, b); }
VEC vi high_part(vi a) { return _mm512_srai_epi32(a, 8); }
VEC vi low_part(vi a) { return _mm512_and_si512(a, _mm512_set1_epi32(255)); }
// Sixteen pairs of INT8 codes, each widened to 16 bits.
VEC vi load_i8_pairs(const uint8_t* p) { return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
VEC void store_i16(int16_t* p, vi a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(a)); }
// sum + the products of pairs of 16-bit integers. Written out as in int_dot.h, for the same reason.
VEC vi add_pairs(vi sum, vi a, vi b) {
  asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
}
// The largest bits: of numbers that are not negative the largest, or any NaN.
VEC vf max_bits(vf a, vf b) { return _mm512_castsi512_ps(_mm512_max_epu32(_mm512_castps_si512(a), _mm512_castps_si512(b))); }
VEC float largest_bits(vf a) {
  const uint32_t bits = _mm512_reduce_max_epu32(_mm512_castps_si512(a));
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

#else  // AVX2

struct vf {
  __m256 a, b;
};
struct vi {
  __m256i a, b;
};
constexpr bool kWideVectors = false;
constexpr bool kManyRegisters = false;  // 16 of 256 bits

VEC void opaque(vf& v) { asm volatile("" : "+x"(v.a), "+x"(v.b)); }
VEC void opaque(vi& v) { asm volatile("" : "+x"(v.a), "+x"(v.b)); }

VEC vf load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
VEC __m256i first_lanes(int64_t n) {  // all bits set in lanes below n
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
VEC vf load_n(const float* p, int64_t n) {
  return {_mm256_maskload_ps(p, first_lanes(n)), _mm256_maskload_ps(p + 8, first_lanes(n - 8))};
}
VEC void store(float* p, vf v) {
  _mm256_storeu_ps(p, v.a);
  _mm256_storeu_ps(p + 8, v.b);
}
VEC void store_n(float* p, vf v, int64_t n) {
  _mm256_maskstore_ps(p, first_lanes(n), v.a);
  _mm256_maskstore_ps(p + 8, first_lanes(n - 8), v.b);
}
VEC vf set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
VEC vf zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
VEC vf add(vf x, vf y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
VEC vf sub(vf x, vf y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
VEC vf mul(vf x, vf y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
VEC vf div(vf x, vf y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
VEC vf fma(vf x, vf y, vf z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
VEC vf max(vf x, vf y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
VEC vf min(vf x, vf y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
VEC vf abs(vf x) {
  const __m256 mask = _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF));
  return {_mm256_and_ps(x.a, mask), _mm256_and_ps(x.b, mask)};
}
VEC vf round(vf x) {
  return {_mm256_round_ps(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
          _mm256_round_ps(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
VEC vi to_int(vf x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
VEC vf to_float(vi x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
VEC __m256 scale_half(__m256 x, __m256 power) {  // power in [-252, 254]: two steps, so that subnormals come out right
  const __m256i p = _mm256_cvtps_epi32(power), half = _mm256_srai_epi32(p, 1), rest = _mm256_sub_epi32(p, half);
  const auto two_to = [](__m256i e) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(e, _mm256_set1_epi32(127)), 23));
  };
  return _mm256_mul_ps(_mm256_mul_ps(x, two_to(half)), two_to(rest));
}
VEC vf scale_by_power(vf x, vf power) { return {scale_half(x.a, power.a), scale_half(x.b, power.b)}; }
VEC float sum(vf x) {  // the same tree as the 512-bit form
  const __m256 half = _mm256_add_ps(x.a, x.b);
  const __m128 quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  const __m128 pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
  return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}
VEC float largest(vf x) {
  const __m256 half = _mm256_max_ps(x.a, x.b);
  const __m128 quarter = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  const __m128 pair = _mm_max_ps(quarter, _mm_movehl_ps(quarter, quarter));
  return _mm_cvtss_f32(_mm_max_ss(pair, _mm_movehdup_ps(pair)));
}

VEC __m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
VEC __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
VEC vf load_f16(const uint16_t* p) { return {_mm256_cvtph_ps(load128(p)), _mm256_cvtph_ps(load128(p + 8))}; }
VEC void store_f16(uint16_t* p, vf v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v.a, _MM_FROUND_TO_NEAREST_INT));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(v.b, _MM_FROUND_TO_NEAREST_INT));
}
VEC vf load_bf16(const uint16_t* p) {
  const auto widen = [](__m128i x) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16)); };
  return {widen(load128(p)), widen(load128(p + 8))};
}
VEC void load_bf16_pairs(const uint16_t* p, vf& first, vf& second) {
  const __m256i a = load256(p), b = load256(p + 16), mask = _mm256_set1_epi32(static_cast<int>(0xFFFF0000u));
  first = {_mm256_castsi256_ps(_mm256_slli_epi32(a, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(b, 16))};
  second = {_mm256_castsi256_ps(_mm256_and_si256(a, mask)), _mm256_castsi256_ps(_mm256_and_si256(b, mask))};
}

VEC void load_float8(__m256i first, __m256i second, vf& a, vf& b) {
  a = {_mm256_cvtph_ps(_mm256_castsi256_si128(first)), _mm256_cvtph_ps(_mm256_extracti128_si256(first, 1))};
  b = {_mm256_cvtph_ps(_mm256_castsi256_si128(second)), _mm256_cvtph_ps(_mm256_extracti128_si256(second, 1))};
}
VEC void load_e5m2(const uint8_t* line, vf (&columns)[4]) {
  const __m256i mask = _mm256_set1_epi16(static_cast<short>(0xFF00));
  for (int half = 0; half < 2; ++half) {
    const __m256i pairs = load256(line + half * 32);
    load_float8(_mm256_slli_epi16(pairs, 8), _mm256_and_si256(pairs, mask), columns[2 * half], columns[2 * half + 1]);
  }
}
VEC void load_e4m3(const uint8_t* line, vf (&columns)[4]) {
  const __m256i mask = _mm256_set1_epi16(static_cast<short>(0xBF80));
  for (int half = 0; half < 2; ++half) {
    const __m256i pairs = load256(line + half * 32);
    load_float8(_mm256_and_si256(_mm256_srai_epi16(_mm256_slli_epi16(pairs, 8), 1), mask),
                _mm256_and_si256(_mm256_srai_epi16(pairs, 1), mask), columns[2 * half], columns[2 * half + 1]);
  }
}
VEC vf load_e4m3(const uint8_t* p) {
  const __m256i wide = _mm256_cvtepi8_epi16(load128(p));
  const __m256i halves = _mm256_and_si256(_mm256_slli_epi16(wide, 7), _mm256_set1_epi16(static_cast<short>(0xBF80)));
  return {_mm256_cvtph_ps(_mm256_castsi256_si128(halves)), _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1))};
}
VEC vf exponent_part(vf x) {
  const __m256 mask = _mm256_castsi256_ps(_mm256_set1_epi32(0x7F800000));
  return {_mm256_and_ps(x.a, mask), _mm256_and_ps(x.b, mask)};
}

VEC vi load_int(const void* p) { return {load256(p), load256(static_cast<const char*>(p) + 32)}; }
VEC vi load_u8(const uint8_t* p) {
  const __m128i bytes = load128(p);
  return {_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8))};
}
VEC vi set1_int(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
VEC vi add(vi x, vi y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
VEC vi sub(vi x, vi y) { return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)}; }
VEC vi mul(vi x, vi y) { return {_mm256_mullo_epi32(x.a, y.a), _mm256_mullo_epi32(x.b, y.b)}; }
VEC vi high_part(vi x) { return {_mm256_srai_epi32(x.a, 8), _mm256_srai_epi32(x.b, 8)}; }
VEC vi low_part(vi x) {
  const __m256i mask = _mm256_set1_epi32(255);
  return {_mm256_and_si256(x.a, mask), _mm256_and_si256(x.b, mask)};
}
VEC vi load_i8_pairs(const uint8_t* p) { return {_mm256_cvtepi8_epi16(load128(p)), _mm256_cvtepi8_epi16(load128(p + 16))}; }
VEC void store_i16(int16_t* p, vi x) {
  const __m256i pairs = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.a, x.b), 0xD8);  // packing goes by halves
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), pairs);
}
VEC vi add_pairs(vi sum, vi x, vi y) { return add(sum, {_mm256_madd_epi16(x.a, y.a), _mm256_madd_epi16(x.b, y.b)}); }
VEC __m256 max_bits_half(__m256 x, __m256 y) {
  return _mm256_castsi256_ps(_mm256_max_epu32(_mm256_castps_si256(x), _mm256_castps_si256(y)));
}
VEC vf max_bits(vf x, vf y) { return {max_bits_half(x.a, y.a), max_bits_half(x.b, y.b)}; }
VEC float largest_bits(vf x) {
  const __m256i eight = _mm256_castps_si256(max_bits_half(x.a, x.b));
  const __m128i four = _mm_max_epu32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_max_epu32(four, _mm_unpackhi_epi64(four, four));
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_max_epu32(two, _mm_srli_epi64(two, 32))));
}

#endif

// e^x: x = n ln 2 + r, |r| <= ln 2 / 2, polynomial of degree 6 in r (error below 2 units in the last place). NaN stays
// NaN; below -103 the result is 0, above 88.7 infinity.
VEC vf exp(vf x) {
  const vf bounded = max(set1(-104.0f), min(set1(89.0f), x));  // NaN passes: it is the second operand each time
  const vf n = round(mul(bounded, set1(1.44269504f)));
  // ln 2 in two parts: the first has so few bits that its product with n is exact.
  const vf r = fma(n, set1(2.12194440e-4f), fma(n, set1(-0.693359375f), bounded));
  vf p = set1(1.38888889e-3f);
  p = fma(p, r, set1(8.33333333e-3f));
  p = fma(p, r, set1(4.16666667e-2f));
  p = fma(p, r, set1(1.66666667e-1f));
  p = fma(p, r, set1(0.5f));
  p = fma(p, r, set1(1.0f));
  p = fma(p, r, set1(1.0f));
  return scale_by_power(p, n);
}

// A known index, and a body for every one below N. g++ keeps an array of vectors in memory, however its loops are unrolled,
// but a struct of them in registers; so accumulators are a Pack, and their loops are these.
template <int I>
struct Index {
  static constexpr int value = I;
  constexpr operator int() const { return I; }
};
template <int N, class Body>
VEC void each(const Body& body) {
  if constexpr (N > 0) {
    each<N - 1>(body);
    body(Index<N - 1>());
  }
}
#define EACH(i) [&](auto i) __attribute__((always_inline))

template <class T, int N>
struct Pack {
  T own;
  Pack<T, N - 1> rest;
  template <int I>
  VEC T& at(Index<I>) {
    if constexpr (I == N - 1) {
      return own;
    } else {
      return rest.at(Index<I>());
    }
  }
};
template <class T>
struct Pack<T, 0> {};
// Element [a][b] of a pack [N / B][B].
template <int B, class T, int N, int I, int J>
VEC T& cell(Pack<T, N>& pack, Index<I>, Index<J>) { return pack.at(Index<I * B + J>()); }

// The processor keeps about a dozen lines under way; asked for this far ahead, they come from memory when they are needed,
// also where a group's end holds up the instructions behind it.
constexpr int64_t kAheadBytes = 4096;
// Tiles of many rows read 8-bit weights from the second-level cache, at a distance that their arithmetic covers.
constexpr int64_t kNearBytes = 768;
VEC void prefetch(const void* p) { __builtin_prefetch(p); }
// To the first-level cache, to be the first to leave it.
VEC void prefetch_once(const void* p) { __builtin_prefetch(p, 0, 0); }
// From memory to the second-level cache, which has more lines under way than the first.
VEC void prefetch_far(const void* p) { __builtin_prefetch(p, 0, 2); }
// Either: from memory the first-level cache has too few lines under way (BF16, Zen 4: 27 GB/s against 31 by way of the second).
template <bool kFar>
VEC void ask(const void* p) {
  kFar ? prefetch_far(p) : prefetch(p);
}

VEC int32_t sum(vi x) {
  int32_t lanes[16];
  __builtin_memcpy(lanes, &x, sizeof lanes);
  int32_t total = 0;
  for (int32_t lane : lanes) total += lane;
  return total;
}

VEC int32_t load32(const void* p) {
  int32_t x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}

constexpr float kE4m3Unit = 256.0f;

VEC vi zero_int() { return set1_int(0); }

// Scales of a panel's sixteen rows.
VEC vf load_scales(const MatrixView& w, int64_t index) {
  if (w.scale_type == ScaleType::f32) return load(static_cast<const float*>(w.scales) + index);
  const auto* bits = static_cast<const uint16_t*>(w.scales) + index;
  return w.scale_type == ScaleType::bf16 ? load_bf16(bits) : load_f16(bits);
}

}  // namespace
}  // namespace codecllm::CODECLLM_TIER
