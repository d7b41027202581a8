// SPDX-License-Identifier: Apache-2.0
// Sixty-four lanes of bytes for decoding bit planes: one 512-bit register, or two of 256 bits. A plane is a 64-bit mask, one
// bit per lane.
#pragma once

#include "kernels/cpu/vec.h"

namespace codecllm::CODECLLM_TIER {
namespace {

VEC uint64_t load64(const uint8_t* p) {
  uint64_t x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}

#if defined(__AVX512BW__)

using vb = __m512i;

VEC vb load_bytes(const uint8_t* p) { return _mm512_loadu_si512(p); }
VEC void store_bytes(uint8_t* p, vb v) { _mm512_storeu_si512(p, v); }
VEC vb set1_byte(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }
// 32 bytes: low nibbles are lanes 0 to 31.
VEC vb load_nibbles(const uint8_t* p) {
  const __m512i twice = _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_and_si512(_mm512_srlv_epi64(twice, _mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4)), _mm512_set1_epi8(15));
}
// 16 bytes: the lowest two bits of each are lanes 0 to 15; the result is shifted left by kShift, at most 6.
template <int kShift>
VEC vb load_pairs(const uint8_t* p) {
  const __m512i often = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  constexpr int64_t a = kShift, b = (kShift + 62) % 64, c = (kShift + 60) % 64, d = (kShift + 58) % 64;
  return _mm512_and_si512(_mm512_rolv_epi64(often, _mm512_setr_epi64(a, a, b, b, c, c, d, d)), _mm512_set1_epi8(3 << kShift));
}
VEC vb bit_or(vb a, vb b) { return _mm512_or_si512(a, b); }
VEC vb bit_and(vb a, vb b) { return _mm512_and_si512(a, b); }
VEC vb bit_xor(vb a, vb b) { return _mm512_xor_si512(a, b); }
VEC vb add_bytes(vb a, vb b) { return _mm512_add_epi8(a, b); }
// a where the bits of `where` are set, else b.
VEC vb select_bits(vb where, vb a, vb b) { return _mm512_ternarylogic_epi32(where, a, b, 0xCA); }
VEC uint64_t at_least(vb v, int x) { return _mm512_cmpge_epu8_mask(v, set1_byte(x)); }  // x, v below 128
VEC uint64_t any_bits(vb v, int x) { return _mm512_test_epi8_mask(v, set1_byte(x)); }
VEC vb add_where(vb v, uint64_t mask, int x) { return _mm512_mask_add_epi8(v, mask, v, set1_byte(x)); }
VEC vb invert_where(vb otherwise, uint64_t mask, vb v) { return _mm512_mask_sub_epi8(otherwise, mask, _mm512_set1_epi8(-1), v); }
// table: 16 bytes; only the low four bits of an index below 128 count.
VEC vb look_up(const uint8_t* table, vb index) {
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table))), index);
}
VEC vb interleave8_low(vb a, vb b) { return _mm512_unpacklo_epi8(a, b); }
VEC vb interleave8_high(vb a, vb b) { return _mm512_unpackhi_epi8(a, b); }
VEC vb interleave16_low(vb a, vb b) { return _mm512_unpacklo_epi16(a, b); }
VEC vb interleave16_high(vb a, vb b) { return _mm512_unpackhi_epi16(a, b); }

#else  // AVX2

using vb = vi;

VEC vb load_bytes(const uint8_t* p) { return {load256(p), load256(p + 32)}; }
VEC void store_bytes(uint8_t* p, vb v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v.a);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 32), v.b);
}
VEC vb set1_byte(int x) {
  const __m256i v = _mm256_set1_epi8(static_cast<char>(x));
  return {v, v};
}
VEC vb bit_or(vb x, vb y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
VEC vb bit_and(vb x, vb y) { return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)}; }
VEC vb bit_xor(vb x, vb y) { return {_mm256_xor_si256(x.a, y.a), _mm256_xor_si256(x.b, y.b)}; }
VEC vb load_nibbles(const uint8_t* p) {
  const __m256i v = load256(p);
  return bit_and({v, _mm256_srli_epi16(v, 4)}, set1_byte(15));
}
template <int kShift>
VEC vb load_pairs(const uint8_t* p) {
  const __m256i twice = _mm256_broadcastsi128_si256(load128(p));
  const __m256i low = _mm256_srlv_epi64(twice, _mm256_setr_epi64x(0, 0, 2, 2));
  return bit_and({_mm256_slli_epi16(low, kShift), kShift < 4 ? _mm256_srli_epi16(low, 4 - kShift) : _mm256_slli_epi16(low, kShift - 4)},
                 set1_byte(3 << kShift));
}
VEC vb add_bytes(vb x, vb y) { return {_mm256_add_epi8(x.a, y.a), _mm256_add_epi8(x.b, y.b)}; }
VEC vb select_bits(vb where, vb x, vb y) {
  return {_mm256_or_si256(_mm256_and_si256(where.a, x.a), _mm256_andnot_si256(where.a, y.a)),
          _mm256_or_si256(_mm256_and_si256(where.b, x.b), _mm256_andnot_si256(where.b, y.b))};
}
VEC uint64_t top_bits(vb v) {
  return static_cast<uint32_t>(_mm256_movemask_epi8(v.a)) | static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(v.b))) << 32;
}
VEC uint64_t at_least(vb v, int x) {
  const __m256i below = _mm256_set1_epi8(static_cast<char>(x - 1));
  return top_bits({_mm256_cmpgt_epi8(v.a, below), _mm256_cmpgt_epi8(v.b, below)});
}
VEC uint64_t any_bits(vb v, int x) {  // x is one bit
  const vb bit = bit_and(v, set1_byte(x));
  return top_bits({_mm256_cmpeq_epi8(bit.a, _mm256_set1_epi8(static_cast<char>(x))), _mm256_cmpeq_epi8(bit.b, _mm256_set1_epi8(static_cast<char>(x)))});
}
VEC __m256i spread(uint32_t mask) {  // every bit to a byte of ones
  const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(mask)),
                                            _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303));
  const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
  return _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
}
VEC vb spread(uint64_t mask) { return {spread(static_cast<uint32_t>(mask)), spread(static_cast<uint32_t>(mask >> 32))}; }
VEC vb add_where(vb v, uint64_t mask, int x) { return add_bytes(v, bit_and(spread(mask), set1_byte(x))); }
VEC vb invert_where(vb otherwise, uint64_t mask, vb v) { return select_bits(spread(mask), bit_xor(v, set1_byte(-1)), otherwise); }
VEC vb look_up(const uint8_t* table, vb index) {
  const __m256i t = _mm256_broadcastsi128_si256(load128(table));
  return {_mm256_shuffle_epi8(t, index.a), _mm256_shuffle_epi8(t, index.b)};
}
VEC vb interleave8_low(vb x, vb y) { return {_mm256_unpacklo_epi8(x.a, y.a), _mm256_unpacklo_epi8(x.b, y.b)}; }
VEC vb interleave8_high(vb x, vb y) { return {_mm256_unpackhi_epi8(x.a, y.a), _mm256_unpackhi_epi8(x.b, y.b)}; }
VEC vb interleave16_low(vb x, vb y) { return {_mm256_unpacklo_epi16(x.a, y.a), _mm256_unpacklo_epi16(x.b, y.b)}; }
VEC vb interleave16_high(vb x, vb y) { return {_mm256_unpackhi_epi16(x.a, y.a), _mm256_unpackhi_epi16(x.b, y.b)}; }

#endif

}  // namespace
}  // namespace codecllm::CODECLLM_TIER
