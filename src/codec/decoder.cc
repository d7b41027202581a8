// SPDX-License-Identifier: Apache-2.0
#include "codec/decoder.h"

#include <bit>

#include "codec/element_split.h"

namespace codecllm {

namespace {

uint64_t read_word(const uint8_t* stream, int64_t position) {
  uint64_t word = 0;
  for (int i = 0; i < 8; ++i) word |= static_cast<uint64_t>(stream[(position >> 3) + i]) << (8 * i);
  return word >> (position & 7);
}

// Adds a digit of `bits` planes, times its unit, to the lanes of `mask`; returns the lanes where it is all ones.
uint64_t add_digit(const uint8_t* stream, int64_t position, uint64_t mask, int bits, uint32_t* cls) {
  const int count = std::popcount(mask);
  if (mask == 0 || bits == 0) return 0;
  const uint64_t word = read_word(stream, position);
  uint64_t full = 0;
  int index = 0;
  for (int lane = 0; lane < kCodedBlock; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    uint32_t digit = 0;
    uint64_t planes = word;
    for (int b = 0; b < bits; ++b, planes >>= count & 63) digit |= static_cast<uint32_t>(planes >> index & 1) << b;
    cls[lane] += digit;
    if (digit == (1u << bits) - 1) full |= uint64_t{1} << lane;
    ++index;
  }
  return full;
}

}  // namespace

void decode_panel_portable(const CodedView& view, int64_t panel, uint8_t* out) {
  const CodeShape& shape = view.shape;
  const PanelStreams s = streams_of(view, panel);
  const int bytes = element_bytes(shape.kind), bits = fixed_bits(shape);
  const bool sparse = shape.kind == CodeKind::sparse;
  int64_t second_at = 0, third_at = 0, fourth_at = s.third_bits;  // the last runs downwards
  for (int64_t block = 0; block < view.blocks; ++block) {
    // Where the vector tiers do, which read second digits a block ahead: nonsense decodes to the same on all.
    if (block % kClampBlocks == 1 && second_at > s.second_bits) second_at = s.second_bits;
    if (block % kClampBlocks == 0) {
      if (third_at > s.third_bits) third_at = s.third_bits;
      if (fourth_at < 0) fourth_at = 0;
    }
    const uint8_t* fixed = s.fixed + block * view.block_bytes();
    uint32_t packed[kCodedBlock] = {}, raw[kCodedBlock], cls[kCodedBlock];
    for_fields(bits, [&](int first, int field, int offset) {
      const int per_byte = 8 / field, stride = static_cast<int>(kCodedBlock) / per_byte;
      for (int lane = 0; lane < kCodedBlock; ++lane) {
        const int byte = field == 1 ? lane / 8 : lane % stride, shift = field == 1 ? lane % 8 : lane / stride * field;
        packed[lane] |= (static_cast<uint32_t>(fixed[offset + byte]) >> shift & ((1u << field) - 1)) << first;
      }
    });
    uint64_t more = 0;
    for (int lane = 0; lane < kCodedBlock; ++lane) {
      unpack_fixed(shape, packed[lane], raw[lane], cls[lane]);
      if (cls[lane] == (1u << shape.first_bits) - 1) more |= uint64_t{1} << lane;
    }
    const uint64_t deep = add_digit(s.second, second_at, more, shape.second_bits, cls);
    second_at += std::popcount(more) * shape.second_bits;
    const uint64_t deeper = add_digit(s.third, third_at, deep, shape.third_bits, cls);
    third_at += std::popcount(deep) * shape.third_bits;
    fourth_at -= sparse ? std::popcount(more) : std::popcount(deeper) * shape.fourth_bits;
    if (sparse) {
      add_digit(s.third, fourth_at, more, 1, raw);
    } else {
      add_digit(s.third, fourth_at, deeper, shape.fourth_bits, cls);
    }
    uint8_t* to = out + block * kCodedBlock * bytes;
    for (int lane = 0; lane < kCodedBlock; ++lane) {
      const uint32_t x = join_element(shape, raw[lane], cls[lane]);
      for (int b = 0; b < bytes; ++b) to[lane_offset(bytes, lane) + b] = static_cast<uint8_t>(x >> (8 * b));
    }
  }
  patch_exceptions(s, view, out);
}

}  // namespace codecllm
