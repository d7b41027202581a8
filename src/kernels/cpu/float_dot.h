// SPDX-License-Identifier: Apache-2.0
// Products of floating-point weights with one activation row, sixteen weight rows at a time. Weights come in units, one
// register each: a column, for a float of activation; or, where the tier multiplies BF16 pairs, two columns, for two
// activations rounded to BF16 (put_pairs), which is what a 16-bit model has them in. f32 and f16 weights stay exact.
//
// FloatDot<E> has
//   kPairs, kUnitColumns, kTileRows
//   load(at, even, odd): two units, of kTwoUnits bytes; load_one(at)
//   multiply_add(sum, unit, activation)
// and for 8-bit floats
//   kLineUnits, load_line(line, units); kUnit: what the values are times too small
#pragma once

#include "kernels/cpu/vec.h"

namespace codecllm::CODECLLM_TIER {
namespace {

#if defined(__AVX512BF16__)

constexpr bool kHasPairs = true;

// For each lane sum += w[1] x[1], then += w[0] x[0]; subnormals count as zero. Written out: as in int_dot.h.
VEC vf multiply_add_pairs(vf sum, vf w, vf x) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
  return sum;
}

// Thirty-two columns, rounded to the nearest BF16, ties to even.
VEC vf to_pairs(vf first, vf next) { return reinterpret_cast<vf>(_mm512_cvtne2ps_pbh(next, first)); }

// BF16 of the 128 magnitudes of an 8-bit float: every one is a normal number there, or zero.
struct Float8Table {
  alignas(64) uint8_t low[128], high[128];
};
template <int kMantissa>
consteval Float8Table float8_table() {
  constexpr int kExponents = 1 << (7 - kMantissa), kBias = kExponents / 2 - 1;
  Float8Table table = {};
  for (int code = 0; code < 128; ++code) {
    int exponent = code >> kMantissa, mantissa = code & ((1 << kMantissa) - 1), bits = 0;
    const bool e4m3_nan = kMantissa == 3 && code == 127, above = kMantissa == 2 && exponent == kExponents - 1;
    if (e4m3_nan || above) {
      bits = 0x7F80 | (e4m3_nan || mantissa != 0 ? 0x40 : 0);
    } else if (code != 0) {
      if (exponent == 0) {
        for (exponent = 1; mantissa < 1 << kMantissa; mantissa <<= 1) --exponent;
        mantissa -= 1 << kMantissa;
      }
      bits = (exponent + 127 - kBias) << 7 | mantissa << (7 - kMantissa);
    }
    table.low[code] = static_cast<uint8_t>(bits);
    table.high[code] = static_cast<uint8_t>(bits >> 8);
  }
  return table;
}
struct PairOrder {  // words of a low and a high byte: of lanes 0 to 31, and of 32 to 63
  alignas(64) uint8_t index[2][64];
};
consteval PairOrder pair_order() {
  PairOrder order = {};
  for (int i = 0; i < 128; ++i) order.index[i / 64][i % 64] = static_cast<uint8_t>(i / 2 + i % 2 * 64);
  return order;
}

template <Element E>
VEC void load_float8_pairs(const uint8_t* line, vf (&pairs)[2]) {
  static constexpr Float8Table kTable = E == Element::e4m3 ? float8_table<3>() : float8_table<2>();
  static constexpr PairOrder kOrder = pair_order();
  const auto bytes = [](const uint8_t* p) __attribute__((always_inline)) { return _mm512_load_si512(p); };
  const __m512i codes = _mm512_loadu_si512(line);
  const __m512i low = _mm512_permutex2var_epi8(bytes(kTable.low), codes, bytes(kTable.low + 64));
  const __m512i magnitude = _mm512_permutex2var_epi8(bytes(kTable.high), codes, bytes(kTable.high + 64));
  const __m512i high = _mm512_ternarylogic_epi32(magnitude, codes, _mm512_set1_epi8(static_cast<char>(0x80)), 0xF8);  // a | (b & c)
  for (int i = 0; i < 2; ++i) pairs[i] = _mm512_castsi512_ps(_mm512_permutex2var_epi8(low, bytes(kOrder.index[i]), high));
}

#else

constexpr bool kHasPairs = false;
VEC vf multiply_add_pairs(vf sum, vf, vf) { return sum; }
VEC vf to_pairs(vf first, vf) { return first; }
template <Element>
VEC void load_float8_pairs(const uint8_t*, vf (&)[2]) {}

#endif

template <Element E>
struct FloatDot {
  static constexpr bool kPairs = kHasPairs && fits_bf16(E);
  static constexpr int kUnitColumns = kPairs ? 2 : 1;
  // Activation rows of a tile. Each has two accumulators, for even units and odd ones; and many rows take one panel at a
  // time where weights are widened, so that each serves them all, else two, so that each activation that is read serves both.
  static constexpr int kTileRows = !kManyRegisters ? 3 : kPairs ? 6 : 12;
  static constexpr int64_t kTwoUnits = kPairs || E == Element::f32 ? 2 * kLineBytes : kLineBytes;

  VEC static void load(const uint8_t* at, vf& even, vf& odd) {
    if constexpr (kPairs || E == Element::f32) {
      even = CODECLLM_TIER::load(reinterpret_cast<const float*>(at));
      odd = CODECLLM_TIER::load(reinterpret_cast<const float*>(at) + 16);
    } else if constexpr (E == Element::bf16) {
      load_bf16_pairs(reinterpret_cast<const uint16_t*>(at), even, odd);
    } else {
      even = load_f16(reinterpret_cast<const uint16_t*>(at));
      odd = load_f16(reinterpret_cast<const uint16_t*>(at) + 16);
    }
  }
  VEC static vf load_one(const uint8_t* at) {
    if constexpr (kTwoUnits > kLineBytes) {  // the panel may end with this unit
      return CODECLLM_TIER::load(reinterpret_cast<const float*>(at));
    } else {
      vf one, none;
      load(at, one, none);
      return one;
    }
  }
  VEC static vf multiply_add(vf sum, vf w, vf x) {
    if constexpr (kPairs) {
      return multiply_add_pairs(sum, w, x);
    } else {
      return fma(w, x, sum);
    }
  }

  static constexpr int kLineUnits = 4 / kUnitColumns;
  static constexpr float kUnit = E == Element::e4m3 && !kPairs ? kE4m3Unit : 1.0f;
  VEC static void load_line(const uint8_t* line, vf (&units)[kLineUnits]) {
    if constexpr (kPairs) {
      load_float8_pairs<E>(line, units);
    } else if constexpr (E == Element::e4m3) {
      load_e4m3(line, units);
    } else {
      load_e5m2(line, units);
    }
  }
};

}  // namespace
}  // namespace codecllm::CODECLLM_TIER
