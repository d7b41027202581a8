// SPDX-License-Identifier: Apache-2.0
// An element as raw bits and class, and back.
#pragma once

#include <cstring>

#include "codec/coded_view.h"

namespace codecllm {

// Which class an exponent (or a magnitude without its low bits) has; kNoClass where it can only be an exception.
constexpr uint8_t kNoClass = 255;
struct ClassOf {
  uint8_t of[256];
};

struct SplitElement {
  uint32_t raw;
  uint8_t selector;  // what the class is found by: exponent, or magnitude >> low_bits
};

inline uint32_t load_element(const uint8_t* at, int bytes) {
  uint32_t x = 0;
  for (int b = 0; b < bytes; ++b) x |= static_cast<uint32_t>(at[b]) << (8 * b);
  return x;
}

inline SplitElement split_element(const CodeShape& shape, uint32_t x) {
  if (codes_integers(shape.kind)) {
    const int code = static_cast<int>(x) - 128;
    const uint32_t sign = code < 0 ? 1 : 0;
    if (shape.kind == CodeKind::sparse) return {sign, static_cast<uint8_t>(code < 0 ? -code : code)};
    int magnitude = code < 0 ? -1 - code : code;
    if (shape.kind == CodeKind::odd) magnitude >>= 1;  // |code| = 2 m + 1: code is 2 m + 1, -1 - code is 2 m
    const auto m = static_cast<uint32_t>(magnitude);
    return {(m & ((1u << shape.low_bits) - 1)) | sign << shape.low_bits, static_cast<uint8_t>(m >> shape.low_bits)};
  }
  const int mantissa = mantissa_bits(shape.kind), exponent = element_bytes(shape.kind) * 8 - 1 - mantissa;
  const uint32_t sign = x >> (mantissa + exponent);
  return {(x & ((1u << mantissa) - 1)) | sign << mantissa, static_cast<uint8_t>(x >> mantissa & ((1u << exponent) - 1))};
}

// cls: the class, for floating point below kClasses.
inline uint32_t join_element(const CodeShape& shape, uint32_t raw, uint32_t cls) {
  if (codes_integers(shape.kind)) {
    if (shape.kind == CodeKind::sparse) return (raw != 0 ? 128 - cls : 128 + cls) & 255;
    uint32_t m = (raw & ((1u << shape.low_bits) - 1)) | cls << shape.low_bits;
    const uint32_t sign = raw >> shape.low_bits;
    if (shape.kind == CodeKind::integer) return (m ^ (sign != 0 ? 0x7F : 0x80)) & 255;
    return ((m << 1) ^ (sign != 0 ? 0x7F : 0x81)) & 255;
  }
  const int mantissa = mantissa_bits(shape.kind), exponent = element_bytes(shape.kind) * 8 - 1 - mantissa;
  const uint32_t low = raw & ((1u << mantissa) - 1), sign = raw >> mantissa;
  return low | static_cast<uint32_t>(shape.table[cls & (kClasses - 1)] & ((1u << exponent) - 1)) << mantissa | sign << (mantissa + exponent);
}

// The fixed bits of an element as one number: its fields are cut from the low end, eights first, then four, two, one.
inline uint32_t pack_fixed(const CodeShape& shape, uint32_t raw, uint32_t digit) {
  if (!codes_integers(shape.kind)) return raw | digit << (mantissa_bits(shape.kind) + 1);
  if (shape.kind == CodeKind::sparse) return digit;
  const uint32_t low = raw & ((1u << shape.low_bits) - 1), sign = raw >> shape.low_bits;
  return low | digit << shape.low_bits | sign << (shape.low_bits + shape.digit_bits[0]);
}

inline void unpack_fixed(const CodeShape& shape, uint32_t fixed, uint32_t& raw, uint32_t& digit) {
  if (!codes_integers(shape.kind)) {
    const int bits = mantissa_bits(shape.kind) + 1;
    raw = fixed & ((1u << bits) - 1);
    digit = fixed >> bits;
    return;
  }
  const uint32_t low = fixed & ((1u << shape.low_bits) - 1);
  digit = fixed >> shape.low_bits & ((1u << shape.digit_bits[0]) - 1);
  raw = low | (fixed >> (shape.low_bits + shape.digit_bits[0]) & 1) << shape.low_bits;
}

// Fields of the fixed bits of one block: body(first bit, bits, byte offset within the block's fixed part).
template <class Body>
void for_fields(int bits, const Body& body) {
  int at = 0;
  for (; bits - at >= 8; at += 8) body(at, 8, at * 8);
  for (int field = 4; field >= 1; field /= 2)
    if ((bits - at) & field) {
      body(at, field, at * 8);
      at += field;
    }
}

}  // namespace codecllm
