// SPDX-License-Identifier: Apache-2.0
// Sixty-four lanes of bytes for decoding: one 512-bit register, or two of 256 bits. A mask has one bit per lane.
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
// 32 bytes: low nibbles are lanes 0 to 31. The other four bits are anything.
VEC vb spread_nibbles(const uint8_t* p) {
  const __m512i twice = _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_srlv_epi64(twice, _mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4));
}
// 16 bytes: the lowest two bits of each are lanes 0 to 15; shifted left by kShift, at most 6. The other bits are anything.
template <int kShift>
VEC vb spread_pairs(const uint8_t* p) {
  const __m512i often = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  constexpr int64_t a = kShift, b = (kShift + 62) % 64, c = (kShift + 60) % 64, d = (kShift + 58) % 64;
  return _mm512_rolv_epi64(often, _mm512_setr_epi64(a, a, b, b, c, c, d, d));
}
VEC vb bit_or(vb a, vb b) { return _mm512_or_si512(a, b); }
VEC vb bit_and(vb a, vb b) { return _mm512_and_si512(a, b); }
VEC vb bit_xor(vb a, vb b) { return _mm512_xor_si512(a, b); }
VEC vb add_bytes(vb a, vb b) { return _mm512_add_epi8(a, b); }
VEC vb and_or(vb v, vb keep, vb set) { return _mm512_ternarylogic_epi32(v, keep, set, 0xEA); }
VEC vb halve_bytes(vb v) { return _mm512_and_si512(_mm512_srli_epi16(v, 1), set1_byte(0x7F)); }
// a where the bits of `where` are set, else b.
VEC vb select_bits(vb where, vb a, vb b) { return _mm512_ternarylogic_epi32(b, a, where, 0xD8); }
VEC uint64_t above(vb v, vb limit) { return _mm512_cmpgt_epi8_mask(v, limit); }
VEC uint64_t any_bits(vb v, int x) { return _mm512_test_epi8_mask(v, set1_byte(x)); }
VEC vb add_where(vb v, uint64_t mask, int x) { return _mm512_mask_add_epi8(v, mask, v, set1_byte(x)); }
VEC vb invert_where(vb otherwise, uint64_t mask, vb v) { return _mm512_mask_sub_epi8(otherwise, mask, _mm512_set1_epi8(-1), v); }
VEC vb repeat16(const uint8_t* table) { return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table))); }
// Each sixteen lanes have a table of their own; only the low four bits of an index below 128 count, above 127 it gives 0.
VEC vb look_up(vb table, vb index) { return _mm512_shuffle_epi8(table, index); }
VEC vb spread(uint64_t mask) { return _mm512_movm_epi8(mask); }  // every bit to a byte of ones
template <int kLanes>  // within each sixteen
VEC vb lanes_up(vb v) {
  return _mm512_bslli_epi128(v, kLanes);
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
VEC vb and_or(vb v, vb keep, vb set) { return bit_or(bit_and(v, keep), set); }
VEC vb spread_nibbles(const uint8_t* p) {
  const __m256i v = load256(p);
  return {v, _mm256_srli_epi16(v, 4)};
}
template <int kShift>
VEC vb spread_pairs(const uint8_t* p) {
  const __m256i twice = _mm256_broadcastsi128_si256(load128(p));
  const __m256i low = _mm256_srlv_epi64(twice, _mm256_setr_epi64x(0, 0, 2, 2));
  return {_mm256_slli_epi16(low, kShift), kShift < 4 ? _mm256_srli_epi16(low, 4 - kShift) : _mm256_slli_epi16(low, kShift - 4)};
}
VEC vb halve_bytes(vb v) { return bit_and({_mm256_srli_epi16(v.a, 1), _mm256_srli_epi16(v.b, 1)}, set1_byte(0x7F)); }
VEC vb add_bytes(vb x, vb y) { return {_mm256_add_epi8(x.a, y.a), _mm256_add_epi8(x.b, y.b)}; }
VEC vb select_bits(vb where, vb x, vb y) {
  return {_mm256_or_si256(_mm256_and_si256(where.a, x.a), _mm256_andnot_si256(where.a, y.a)),
          _mm256_or_si256(_mm256_and_si256(where.b, x.b), _mm256_andnot_si256(where.b, y.b))};
}
VEC uint64_t top_bits(vb v) {
  return static_cast<uint32_t>(_mm256_movemask_epi8(v.a)) | static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(v.b))) << 32;
}
VEC uint64_t above(vb v, vb limit) { return top_bits({_mm256_cmpgt_epi8(v.a, limit.a), _mm256_cmpgt_epi8(v.b, limit.b)}); }
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
VEC vb repeat16(const uint8_t* table) {
  const __m256i t = _mm256_broadcastsi128_si256(load128(table));
  return {t, t};
}
VEC vb look_up(vb table, vb index) { return {_mm256_shuffle_epi8(table.a, index.a), _mm256_shuffle_epi8(table.b, index.b)}; }
template <int kLanes>
VEC vb lanes_up(vb v) {
  return {_mm256_bslli_epi128(v.a, kLanes), _mm256_bslli_epi128(v.b, kLanes)};
}
VEC vb interleave8_low(vb x, vb y) { return {_mm256_unpacklo_epi8(x.a, y.a), _mm256_unpacklo_epi8(x.b, y.b)}; }
VEC vb interleave8_high(vb x, vb y) { return {_mm256_unpackhi_epi8(x.a, y.a), _mm256_unpackhi_epi8(x.b, y.b)}; }
VEC vb interleave16_low(vb x, vb y) { return {_mm256_unpacklo_epi16(x.a, y.a), _mm256_unpacklo_epi16(x.b, y.b)}; }
VEC vb interleave16_high(vb x, vb y) { return {_mm256_unpackhi_epi16(x.a, y.a), _mm256_unpackhi_epi16(x.b, y.b)}; }

#endif

VEC vb load_nibbles(const uint8_t* p) { return bit_and(spread_nibbles(p), set1_byte(15)); }
template <int kShift>
VEC vb load_pairs(const uint8_t* p) {
  return bit_and(spread_pairs<kShift>(p), set1_byte(3 << kShift));
}

// Sixty-four lanes of which quarter(i) gives the i-th sixteen.
template <class Quarter>
VEC vb join_quarters(const Quarter& quarter) {
  const __m256i a = _mm256_inserti128_si256(_mm256_castsi128_si256(quarter(0)), quarter(1), 1);
  const __m256i b = _mm256_inserti128_si256(_mm256_castsi128_si256(quarter(2)), quarter(3), 1);
#if defined(__AVX512BW__)
  return _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
#else
  return {a, b};
#endif
}

// Sixty-four numbers of `bits` bits each, one behind the other, to a byte each: shifted left by `shift`, then masked.
struct Unpacker {
#if defined(__AVX512VBMI2__)
  __m512i bytes, bits_from;  // eight numbers are `bits` bytes
  __m512i mask;
  Unpacker() = default;
  VEC Unpacker(int bits, int shift, int keep) {
    const __m512i lane = _mm512_set1_epi64(0x0706050403020100);
    const __m512i in_word = _mm512_mullo_epi16(lane, _mm512_set1_epi16(static_cast<int16_t>(bits)));
    const __m512i words = _mm512_setr_epi64(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303, 0x0404040404040404, 0x0505050505050505,
                                            0x0606060606060606, 0x0707070707070707);
    bytes = _mm512_add_epi8(lane, _mm512_mullo_epi16(words, _mm512_set1_epi16(static_cast<int16_t>(bits))));
    bits_from = _mm512_sub_epi8(in_word, set1_byte(shift));
    mask = set1_byte(keep);
  }
  VEC vb unpack(const uint8_t* from) const {
    return _mm512_and_si512(_mm512_multishift_epi64_epi8(bits_from, _mm512_permutexvar_epi8(bytes, load_bytes(from))), mask);
  }
#else
  int64_t bits;
  uint64_t mask;
  Unpacker() = default;
  VEC Unpacker(int number_bits, int, int keep) : bits(number_bits), mask(0x0101010101010101 * static_cast<uint64_t>(keep)) {}
  VEC vb unpack(const uint8_t* from) const {
    const auto eight = [&](int i) __attribute__((always_inline)) { return static_cast<int64_t>(_pdep_u64(load64(from + i * bits), mask)); };
    return join_quarters([&](int i) __attribute__((always_inline)) { return _mm_set_epi64x(eight(2 * i + 1), eight(2 * i)); });
  }
#endif
};

// The lanes of `mask`, in order, get the bytes from `from` on, the others 0. 64 bytes are read.
VEC vb expand_bytes(const uint8_t* from, uint64_t mask) {
#if defined(__AVX512VBMI2__)
  // Written out for Zen 4: from memory the instruction takes a dozen cycles, from a register one; and it waits for the
  // register that it writes, though it zeroes what it does not write, unless that was zeroed just before.
  vb out;
  asm("vpxor %x0, %x0, %x0\n\tvpexpandb %2, %0%{%1%}%{z%}" : "=&x"(out) : "Yk"(mask), "v"(load_bytes(from)));
  return out;
#else
  // Of each sixteen lanes, how many of the mask there are up to a lane, as a negative number; its complement is the index of the
  // lane's byte, and of lanes beyond the mask 255, for which shuffles give 0.
  const vb own = spread(mask);
  vb count = add_bytes(own, lanes_up<1>(own));
  count = add_bytes(count, lanes_up<2>(count));
  count = add_bytes(count, lanes_up<4>(count));
  count = add_bytes(count, lanes_up<8>(count));
  const vb bytes = join_quarters([&](int i) __attribute__((always_inline)) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + _mm_popcnt_u64(_bzhi_u64(mask, static_cast<uint32_t>(16 * i)))));
  });
  return look_up(bytes, bit_xor(bit_and(count, own), set1_byte(255)));
#endif
}

}  // namespace
}  // namespace codecllm::CODECLLM_TIER
