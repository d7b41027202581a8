// SPDX-License-Identifier: Apache-2.0
#include "codec/decoder.h"

#include "codec/element_split.h"

namespace codecllm {

namespace {

// The digits of one level, one after another. Those of a group that would begin behind the stream's end are 0.
struct DigitReader {
  const uint8_t *stream, *end;
  int bits;
  int64_t index = 0;

  uint32_t next() {
    const int64_t group = index / kDigitGroup * (kDigitGroup / 8) * bits, bit = index % kDigitGroup * bits;
    ++index;
    if (group >= end - stream) return 0;
    return load_element(stream + group + bit / 8, 2) >> bit % 8 & ((1u << bits) - 1);
  }
};

}  // namespace

void decode_panel_portable(const CodedView& view, int64_t panel, uint8_t* out) {
  const CodeShape& shape = view.shape;
  const PanelStreams s = streams_of(view, panel);
  const int bytes = element_bytes(shape.kind), bits = fixed_bits(shape);
  DigitReader readers[kMostDigits - 1];
  for (int level = 0; level < kMostDigits - 1; ++level) readers[level] = {s.digits[level], s.digits_end(level), stored_digit_bits(shape, level + 1)};
  for (int64_t block = 0; block < view.blocks; ++block) {
    const uint8_t* fixed = s.fixed + block * view.block_bytes();
    uint32_t packed[kCodedBlock] = {};
    for_fields(bits, [&](int first, int field, int offset) {
      const int per_byte = 8 / field, stride = static_cast<int>(kCodedBlock) / per_byte;
      for (int lane = 0; lane < kCodedBlock; ++lane) {
        const int byte = field == 1 ? lane / 8 : lane % stride, shift = field == 1 ? lane % 8 : lane / stride * field;
        packed[lane] |= (static_cast<uint32_t>(fixed[offset + byte]) >> shift & ((1u << field) - 1)) << first;
      }
    });
    uint8_t* to = out + block * kCodedBlock * bytes;
    for (int lane = 0; lane < kCodedBlock; ++lane) {
      uint32_t raw, cls;
      unpack_fixed(shape, packed[lane], raw, cls);
      bool more = cls == (1u << shape.digit_bits[0]) - 1;
      for (int digit = 1; more && digit < kMostDigits && shape.digit_bits[digit] != 0; ++digit) {
        uint32_t value = readers[digit - 1].next();
        if (shape.kind == CodeKind::sparse && digit == 1) raw = value & 1, value >>= 1;
        cls += value;
        more = value == (1u << shape.digit_bits[digit]) - 1;
      }
      const uint32_t x = join_element(shape, raw, cls);
      for (int b = 0; b < bytes; ++b) to[lane_offset(bytes, lane) + b] = static_cast<uint8_t>(x >> (8 * b));
    }
  }
  patch_exceptions(s, view, out);
}

}  // namespace codecllm
