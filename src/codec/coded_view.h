// SPDX-License-Identifier: Apache-2.0
// Entropy-coded elements as plain data (this header is compiled for every ISA tier). docs/codec.md is the byte-exact
// specification; the words used here are its words.
//
// A tensor is coded in panels that decode alone, a panel in blocks of 64 elements. Every element is split into raw bits,
// which are nearly uniform, and a class, which is small for the frequent elements. The class is written in digits: a first
// one for every element, a second one for those whose first is all ones ("more"), and so on. First digits are stored with
// the raw bits, the same bits for every block, so that vectors unpack them; the digits of each further level are a stream
// of their own, which decoders unpack ahead and spread over the lanes that have one ("expand"). What no digit can say is an
// exception, written out in full and patched into the decoded panel.
#pragma once

#include <stdint.h>

#define CODECLLM_CODEC_INLINE inline __attribute__((always_inline))

namespace codecllm {

constexpr int64_t kCodedBlock = 64;      // elements
constexpr int kMostDigits = 4;
constexpr int64_t kDigitGroup = 64;      // digits that decoders unpack at once
constexpr int64_t kCodedSlack = 512;     // zero bytes after the last panel: decoders read ahead
constexpr int kClasses = 16;             // classes of floating-point kinds: one byte shuffle turns a class to an exponent

// How elements split into raw bits and class.
//   integer  u8 = code + 128: sign (code < 0), magnitude m = code or -1 - code; raw: sign and low_bits of m; class: m >> low_bits
//   odd      u8 = code + 128, code odd in [-127, 127]: sign, m = (|code| - 1) / 2; as integer
//   bf16     raw: sign and 7 bits of mantissa; class: rank of the exponent
//   f16      raw: sign and 10 bits of mantissa; class: rank of the exponent
//   f32      raw: sign and 23 bits of mantissa; class: rank of the exponent
//   e4m3     raw: sign and 3 bits of mantissa; class: rank of the exponent
//   sparse   u8 = code + 128: class: |code|; no raw bits, the second digit has the sign
enum class CodeKind : uint8_t { integer, odd, bf16, f16, f32, e4m3, sparse };
constexpr CodeKind kLastKind = CodeKind::sparse;
constexpr const char* kCodeKindNames[] = {"integer", "odd", "bf16", "f16", "f32", "e4m3", "sparse"};
static_assert(sizeof kCodeKindNames / sizeof *kCodeKindNames == static_cast<int>(kLastKind) + 1);

struct CodeShape {
  CodeKind kind;
  uint8_t low_bits;                 // integer, odd: 0 to 5
  uint8_t digit_bits[kMostDigits];  // of the first, second, third, fourth digit; 0: there is none, nor any behind it
  uint8_t table[kClasses];          // floating point: class -> exponent
};

CODECLLM_CODEC_INLINE constexpr bool codes_integers(CodeKind kind) {
  return kind == CodeKind::integer || kind == CodeKind::odd || kind == CodeKind::sparse;
}
// Codes of a matrix that has a scale for every row.
CODECLLM_CODEC_INLINE constexpr bool has_scales(CodeKind kind) { return codes_integers(kind) || kind == CodeKind::e4m3; }
CODECLLM_CODEC_INLINE constexpr int element_bytes(CodeKind kind) {
  return codes_integers(kind) || kind == CodeKind::e4m3 ? 1 : kind == CodeKind::f32 ? 4 : 2;
}
// Floating point: bits of the mantissa; raw bits are one more, for the sign.
CODECLLM_CODEC_INLINE constexpr int mantissa_bits(CodeKind kind) {
  return kind == CodeKind::bf16 ? 7 : kind == CodeKind::f16 ? 10 : kind == CodeKind::f32 ? 23 : 3;
}
// Bits that every element has: raw bits and first digit.
CODECLLM_CODEC_INLINE constexpr int fixed_bits(const CodeShape& shape) {
  if (shape.kind == CodeKind::sparse) return shape.digit_bits[0];
  return shape.digit_bits[0] + 1 + (codes_integers(shape.kind) ? shape.low_bits : mantissa_bits(shape.kind));
}

// Bits of a digit behind the first as its stream has it; sparse codes' second digits have the sign below.
CODECLLM_CODEC_INLINE constexpr int stored_digit_bits(const CodeShape& shape, int digit) {
  return shape.digit_bits[digit] + (shape.kind == CodeKind::sparse && digit == 1 ? 1 : 0);
}

// Where the panels' parts end; panel p begins where panel p - 1 ends, the first at 0.
struct PanelRecord {
  uint64_t end : 40;           // bytes from the start of the panels
  uint64_t fourth_bytes : 24;  // of the fourth digits' stream
  uint32_t second_bytes;
  uint32_t third_bytes;
};
static_assert(sizeof(PanelRecord) == 16 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);  // it is what files have

struct CodedView {
  CodeShape shape;
  int64_t panels;
  int64_t blocks;               // of each panel
  const uint8_t* records;       // [panels], of any alignment
  const uint8_t* data;          // the panels, then kCodedSlack bytes

  CODECLLM_CODEC_INLINE PanelRecord record(int64_t panel) const {
    PanelRecord out;
    __builtin_memcpy(&out, records + panel * static_cast<int64_t>(sizeof out), sizeof out);
    return out;
  }
  CODECLLM_CODEC_INLINE int64_t block_bytes() const { return fixed_bits(shape) * 8; }
  CODECLLM_CODEC_INLINE int64_t panel_bytes() const { return blocks * kCodedBlock * element_bytes(shape.kind); }  // decoded
};

// The parts of one panel. Each ends where the next begins.
struct PanelStreams {
  const uint8_t* fixed;
  const uint8_t* digits[kMostDigits - 1];  // second, third, fourth
  const uint8_t* exceptions;
  int64_t exception_count;

  CODECLLM_CODEC_INLINE const uint8_t* digits_end(int level) const { return level + 2 < kMostDigits ? digits[level + 1] : exceptions; }
};

CODECLLM_CODEC_INLINE PanelStreams streams_of(const CodedView& v, int64_t panel) {
  const PanelRecord record = v.record(panel);
  const uint64_t begin = panel == 0 ? 0 : v.record(panel - 1).end;
  PanelStreams s;
  s.fixed = v.data + begin;
  s.digits[0] = s.fixed + v.blocks * v.block_bytes();
  s.digits[1] = s.digits[0] + record.second_bytes;
  s.digits[2] = s.digits[1] + record.third_bytes;
  s.exceptions = s.digits[2] + record.fourth_bytes;
  s.exception_count = (v.data + record.end - s.exceptions) / (3 + element_bytes(v.shape.kind));
  return s;
}

// Byte of lane `lane` within a decoded block: lanes are in the order in which byte unpacking makes wider elements.
CODECLLM_CODEC_INLINE constexpr int lane_offset(int bytes, int lane) {
  const int part = lane / 16, within = lane % 16;
  if (bytes == 1) return lane;
  if (bytes == 2) return within / 8 * 64 + (part * 8 + within % 8) * 2;
  return within / 4 * 64 + (part * 4 + within % 4) * 4;
}

// Exceptions are three arrays: block (u16), lane (u8), element; block after block. They were checked when the container was opened,
// but a mapped file may be written to since: none is put outside `out`. Calls put(to, element) for those from number `index` on that
// belong to blocks below `end`; to: where the element is, out: where block `begin` is. The result is the number of the next.
template <class Put>
CODECLLM_CODEC_INLINE int64_t patch_exceptions(const PanelStreams& s, int bytes, int64_t index, int64_t begin, int64_t end, uint8_t* out, const Put& put) {
  const uint8_t* lanes = s.exceptions + 2 * s.exception_count;
  const uint8_t* values = lanes + s.exception_count;
  for (; index < s.exception_count; ++index) {
    const int64_t block = s.exceptions[2 * index] | s.exceptions[2 * index + 1] << 8;
    if (block >= end) break;
    if (block < begin) continue;
    put(out + (block - begin) * kCodedBlock * bytes + lane_offset(bytes, lanes[index] % kCodedBlock), values + index * bytes);
  }
  return index;
}

// All of a panel's.
CODECLLM_CODEC_INLINE void patch_exceptions(const PanelStreams& s, const CodedView& v, uint8_t* out) {
  const int bytes = element_bytes(v.shape.kind);
  patch_exceptions(s, bytes, 0, 0, v.blocks, out, [bytes](uint8_t* to, const uint8_t* element) {
    for (int b = 0; b < bytes; ++b) to[b] = element[b];
  });
}

}  // namespace codecllm
