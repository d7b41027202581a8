// SPDX-License-Identifier: Apache-2.0
#include "codec/encoder.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "codec/byte_words.h"

namespace codecllm {

namespace {

// Digits of one level, packed one after another.
class DigitWriter {
 public:
  // digits: a byte for each lane, of no meaning for those that are not in `lanes`.
  void put(const uint8_t (&digits)[kCodedBlock], uint64_t lanes, int bits) {
    uint8_t close[kCodedBlock + 8];
    int count = 0;
    for (; lanes != 0; lanes &= lanes - 1) close[count++] = digits[std::countr_zero(lanes)];
    store_word(close + count, 0);
    if (bytes_.size() < size_ + kCodedBlock + 8) bytes_.resize(bytes_.size() * 2 + kCodedBlock + 8);
    for (int at = 0; at < count; at += 8) {
      word_ |= pack_bytes(load_word(close + at), bits) << filled_;  // at most 7 + 48 bits
      filled_ += std::min(8, count - at) * bits;
      store_word(bytes_.data() + size_, word_);
      size_ += static_cast<size_t>(filled_ / 8);
      word_ >>= filled_ / 8 * 8;
      filled_ %= 8;
    }
  }
  std::span<const uint8_t> finish() {
    bytes_.resize(size_ + 8);
    store_word(bytes_.data() + size_, word_);
    return std::span(bytes_).first(size_ + static_cast<size_t>(filled_ + 7) / 8);
  }

 private:
  std::vector<uint8_t> bytes_;
  size_t size_ = 0;
  uint64_t word_ = 0;
  int filled_ = 0;
};

// One block, a byte for each lane.
struct Lanes {
  uint8_t classes[kCodedBlock];
  uint8_t fixed[4][kCodedBlock];  // the fixed bits, the lowest eight first
};

template <int bytes>
using Unit = std::conditional_t<bytes == 1, uint8_t, std::conditional_t<bytes == 2, uint16_t, uint32_t>>;

// Classes, and fixed bits without the first digit; in loops that compilers turn into vector code.
template <CodeKind kind>
void split_lanes(CodeShape shape, const ClassOf& classes, const uint8_t* elements, Lanes& lanes) {
  shape.kind = kind;  // known to the compiler
  constexpr int bytes = element_bytes(kind), run = 16 / bytes;  // neighbouring lanes that are neighbours in memory
  constexpr int fixed_bytes = codes_integers(kind) ? 1 : (mantissa_bits(kind) + 11) / 8;  // at most eight bits of integers
  Unit<bytes> units[kCodedBlock];
  for (int lane = 0; lane < kCodedBlock; lane += run) std::memcpy(units + lane, elements + lane_offset(bytes, lane), 16);
  uint32_t fixed[kCodedBlock];
  uint8_t selectors[kCodedBlock];
  for (int lane = 0; lane < kCodedBlock; ++lane) {
    const SplitElement element = split_element(shape, units[lane]);
    selectors[lane] = element.selector;
    fixed[lane] = pack_fixed(shape, element.raw, 0);
  }
  for (int b = 0; b < fixed_bytes; ++b)
    for (int lane = 0; lane < kCodedBlock; ++lane) lanes.fixed[b][lane] = static_cast<uint8_t>(fixed[lane] >> (8 * b));
  for (int lane = 0; lane < kCodedBlock; ++lane) lanes.classes[lane] = codes_integers(kind) ? selectors[lane] : classes.of[selectors[lane]];
  if constexpr (kind == CodeKind::odd)
    for (int lane = 0; lane < kCodedBlock; ++lane) lanes.classes[lane] |= (units[lane] & 1) != 0 ? 0 : kNoClass;
}

// A field of the fixed bits as it is stored, from bits `first` and up of a byte of each lane.
void pack_field(const uint8_t (&lanes)[kCodedBlock], int first, int bits, uint8_t* out) {
  if (bits == 1) {
    for (int at = 0; at < kCodedBlock; at += 8) out[at / 8] = static_cast<uint8_t>(bit_of_bytes(load_word(lanes + at), first));
    return;
  }
  const int stride = static_cast<int>(kCodedBlock) * bits / 8;
  for (int at = 0; at < stride; at += 8) {
    uint64_t word = 0;
    for (int i = 0; i < 8 / bits; ++i) word |= (load_word(lanes + at + i * stride) >> first & each_byte((1u << bits) - 1)) << (i * bits);
    store_word(out + at, word);
  }
}

struct Streams {
  DigitWriter digits[kMostDigits - 1];
  std::vector<uint8_t> blocks, lanes, values;  // of the exceptions

  void add_exception(uint32_t block, int lane, const uint8_t* value, int bytes) {
    blocks.push_back(static_cast<uint8_t>(block));
    blocks.push_back(static_cast<uint8_t>(block >> 8));
    lanes.push_back(static_cast<uint8_t>(lane));
    values.insert(values.end(), value, value + bytes);
  }
};

// What holds for all blocks of a tensor.
template <CodeKind kind>
struct BlockCoder {
  BlockCoder(const CodeShape& own, const ClassOf& class_of) : shape(own), classes(class_of) {
    for (int digit = 0; digit < kMostDigits; ++digit) {
      all_ones[digit] = static_cast<uint64_t>((1 << shape.digit_bits[digit]) - 1);
      if (shape.digit_bits[digit] != 0) digits = digit + 1;
    }
  }

  const CodeShape shape;
  const ClassOf& classes;
  int digits = 0;
  uint64_t all_ones[kMostDigits];
  const int digit_at = std::countr_zero(pack_fixed(shape, 0, 1)), last = last_class(shape);

  void encode(const uint8_t* elements, uint32_t block, uint8_t* fixed, Streams& streams) const;
};

// Of eight lanes, what is left of those classes that reach `all_ones`, a byte of 255 for each in `reached`.
uint64_t cut_digit(uint64_t rest, uint64_t reached, uint64_t all_ones, uint8_t* digits) {
  const uint64_t full = each_byte(all_ones) & reached;
  store_word(digits, (rest & ~reached) | full);
  return (rest & reached) - full;
}

template <CodeKind kind>
void BlockCoder<kind>::encode(const uint8_t* elements, uint32_t block, uint8_t* fixed, Streams& streams) const {
  constexpr int bytes = element_bytes(kind);
  Lanes lanes;
  split_lanes<kind>(shape, classes, elements, lanes);
  uint8_t(&with_first)[kCodedBlock] = lanes.fixed[digit_at / 8];
  uint8_t values[kMostDigits][kCodedBlock];
  uint64_t reached[kMostDigits] = {};  // lanes that have the digit; of the first: that cannot be said
  for (int at = 0; at < kCodedBlock; at += 8) {
    // What cannot be said is written as class 0, and patched.
    const uint64_t cls = load_word(lanes.classes + at), unsayable = bytes_from(cls, static_cast<uint64_t>(last) + 1);
    uint64_t rest = cls & ~unsayable;
    reached[0] |= bit_of_bytes(unsayable, 0) << at;
    for (int digit = 0; digit < digits; ++digit) {
      const uint64_t more = digit + 1 < digits ? bytes_from(rest, all_ones[digit]) : 0;
      rest = cut_digit(rest, more, all_ones[digit], values[digit] + at);
      if (digit > 0 && more == 0) break;  // as nearly always
      if (digit + 1 < digits) reached[digit + 1] |= bit_of_bytes(more, 0) << at;
    }
    store_word(with_first + at, load_word(with_first + at) | load_word(values[0] + at) << digit_at % 8);
    if constexpr (kind == CodeKind::sparse)
      store_word(values[1] + at, load_word(values[1] + at) << 1 | (~load_word(elements + at) >> 7 & each_byte(1)));
  }
  for (uint64_t rest = reached[0]; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    streams.add_exception(block, lane, elements + lane_offset(bytes, lane), bytes);
  }
  for_fields(fixed_bits(shape), [&](int first, int bits, int offset) { pack_field(lanes.fixed[first / 8], first % 8, bits, fixed + offset); });
  for (int digit = 1; digit < digits; ++digit) streams.digits[digit - 1].put(values[digit], reached[digit], stored_digit_bits(shape, digit));
}

template <CodeKind kind>
void encode_blocks(const CodeShape& shape, const ClassOf& classes, std::span<const uint8_t> elements, PanelCode& out, Streams& streams) {
  constexpr size_t decoded = kCodedBlock * element_bytes(kind);
  const BlockCoder<kind> coder(shape, classes);
  const size_t blocks = elements.size() / decoded, block_bytes = static_cast<size_t>(fixed_bits(shape)) * 8;
  out.bytes.assign(blocks * block_bytes, 0);
  for (size_t block = 0; block < blocks; ++block)
    coder.encode(elements.data() + block * decoded, static_cast<uint32_t>(block), out.bytes.data() + block * block_bytes, streams);
}

}  // namespace

Encoder::Encoder(const CodeShape& shape) : shape_(shape), classes_(classes_of(shape)) {}

Encoder::Encoder(CodeKind kind, std::span<const std::span<const uint8_t>> samples, Prefer prefer) {
  ClassCounts histogram;
  for (const auto& sample : samples) histogram.add(kind, sample);
  std::vector<RatedShape> shapes = rated_shapes(kind, histogram, prefer);
  constexpr size_t kTried = 3, kTriedBytes = size_t{1} << 18;
  const size_t tried = std::min(kTried, shapes.size());
  std::ranges::stable_sort(shapes, {}, &RatedShape::cost);  // of those that cost the same, the one of fewer digits
  // The estimate does not see what panels waste; coding a part of the sample does.
  double least = INFINITY;
  PanelCode code;
  for (size_t i = 0; i < tried; ++i) {
    const Encoder candidate(shapes[i].shape);
    size_t bytes = 0, coded = 0;
    for (const auto& sample : samples) {
      if (coded >= kTriedBytes) break;
      candidate.encode(sample, code);
      bytes += code.bytes.size();
      coded += sample.size();
    }
    const double cost = shapes[i].handicap * static_cast<double>(bytes);
    if (cost >= least) continue;
    least = cost;
    shape_ = candidate.shape();
  }
  classes_ = classes_of(shape_);
}

void Encoder::encode(std::span<const uint8_t> elements, PanelCode& out) const {
  Streams streams;
  switch (shape_.kind) {
    case CodeKind::integer: encode_blocks<CodeKind::integer>(shape_, classes_, elements, out, streams); break;
    case CodeKind::odd: encode_blocks<CodeKind::odd>(shape_, classes_, elements, out, streams); break;
    case CodeKind::bf16: encode_blocks<CodeKind::bf16>(shape_, classes_, elements, out, streams); break;
    case CodeKind::f16: encode_blocks<CodeKind::f16>(shape_, classes_, elements, out, streams); break;
    case CodeKind::f32: encode_blocks<CodeKind::f32>(shape_, classes_, elements, out, streams); break;
    case CodeKind::e4m3: encode_blocks<CodeKind::e4m3>(shape_, classes_, elements, out, streams); break;
    case CodeKind::sparse: encode_blocks<CodeKind::sparse>(shape_, classes_, elements, out, streams); break;
  }
  for (int level = 0; level < kMostDigits - 1; ++level) {
    const std::span<const uint8_t> digits = streams.digits[level].finish();
    out.digit_bytes[static_cast<size_t>(level)] = static_cast<uint32_t>(digits.size());
    out.bytes.insert(out.bytes.end(), digits.begin(), digits.end());
  }
  for (const auto* part : {&streams.blocks, &streams.lanes, &streams.values}) out.bytes.insert(out.bytes.end(), part->begin(), part->end());
}

}  // namespace codecllm
