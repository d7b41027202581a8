// SPDX-License-Identifier: Apache-2.0
#include "codec/encoder.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "codec/byte_words.h"

namespace codecllm {

namespace {

class BitWriter {
 public:
  explicit BitWriter(std::vector<uint8_t>& out) : out_(out) {}
  void put(uint64_t bits, int count) {  // count <= 57
    word_ |= bits << filled_;
    filled_ += count;
    if (out_.size() < size_ + 8) out_.resize(out_.size() * 2 + 64);
    store_word(out_.data() + size_, word_);
    const int whole = filled_ & ~7;
    size_ += whole / 8;
    word_ = whole == 64 ? 0 : word_ >> whole;
    filled_ -= whole;
  }
  void finish() {
    out_.resize(size_ + (filled_ > 0 ? 1 : 0));
    if (filled_ > 0) out_.back() = static_cast<uint8_t>(word_);
  }

 private:
  std::vector<uint8_t>& out_;
  size_t size_ = 0;
  uint64_t word_ = 0;
  int filled_ = 0;
};

// The digits of one block on one level: plane by plane, one bit for each element that has the digit.
struct DigitPlanes {
  uint64_t plane[4] = {};
  int count = 0;
  void write(BitWriter& out, int bits) const {
    for (int b = 0; count > 0 && b < bits; ++b) out.put(plane[b], count);
  }
};

// The lanes that have a digit, and the digits: a byte for each lane, of no meaning for the others.
struct Level {
  uint64_t lanes = 0;
  uint8_t digits[kCodedBlock];

  DigitPlanes planes(int bits) const {
    DigitPlanes out;
    uint8_t close[kCodedBlock + 8] = {};
    for (uint64_t rest = lanes; rest != 0; rest &= rest - 1) close[out.count++] = digits[std::countr_zero(rest)];
    for (int b = 0; b < bits; ++b)
      for (int at = 0; at < out.count; at += 8) out.plane[b] |= bit_of_bytes(load_word(close + at), b) << at;
    return out;
  }
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
  for (int lane = 0; lane < kCodedBlock; ++lane) lanes.classes[lane] = classes.of[selectors[lane]];
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

// Of what is stored from the end downwards: fourth digits, or signs; 0: neither.
int bits_downwards(const CodeShape& shape) { return shape.kind == CodeKind::sparse ? 1 : shape.fourth_bits; }

struct Streams {
  std::vector<uint8_t> second_bytes, third_bytes, fourth_bytes;
  BitWriter second{second_bytes}, third{third_bytes}, fourth{fourth_bytes};
  std::vector<DigitPlanes> downwards;  // of each block; written from the last to the first
  std::vector<uint8_t> blocks, lanes, values;  // of the exceptions

  void add_exception(uint32_t block, int lane, const uint8_t* value, int bytes) {
    blocks.push_back(static_cast<uint8_t>(block));
    blocks.push_back(static_cast<uint8_t>(block >> 8));
    lanes.push_back(static_cast<uint8_t>(lane));
    values.insert(values.end(), value, value + bytes);
  }

  // The first block's bits end where the third digits' stream ends.
  void write_downwards(int bits) {
    uint64_t all = 0;
    for (const DigitPlanes& planes : downwards) all += static_cast<uint64_t>(planes.count * bits);
    fourth.put(0, static_cast<int>((8 - all % 8) % 8));
    for (size_t block = downwards.size(); block > 0; --block) downwards[block - 1].write(fourth, bits);
    fourth.finish();
    third_bytes.insert(third_bytes.end(), fourth_bytes.begin(), fourth_bytes.end());
  }
};

// What holds for all blocks of a tensor.
template <CodeKind kind>
struct BlockCoder {
  BlockCoder(const CodeShape& own, const ClassOf& class_of) : shape(own), classes(class_of) {}

  const CodeShape shape;
  const ClassOf& classes;
  const int most = (1 << shape.first_bits) - 1, digit_at = std::countr_zero(pack_fixed(shape, 0, 1)), last = last_class(shape);
  const int escape = (1 << shape.second_bits) - 1, third_escape = (1 << shape.third_bits) - 1;
  const int second_limit = limit(shape.second_bits), third_limit = limit(shape.third_bits);
  const int fourth_bits = bits_downwards(shape), fourth_limit = limit(fourth_bits);
  static int limit(int digit_bits) { return digit_bits == 0 ? 0 : kPlaneBits / digit_bits; }

  void encode(const uint8_t* elements, uint32_t block, uint8_t* fixed, Streams& streams) const;

 private:
  struct Levels {
    Level second, third, fourth;
    uint64_t unsayable = 0;  // lanes whose class no digits say
  };
  bool fits(const Levels& levels) const;
  uint64_t lanes_that_fit(const Levels& levels) const;
};

template <CodeKind kind>
bool BlockCoder<kind>::fits(const Levels& l) const {
  return l.unsayable == 0 && std::popcount(l.second.lanes) <= second_limit && std::popcount(l.third.lanes) <= third_limit &&
         std::popcount(l.fourth.lanes) <= fourth_limit;
}

// Of the lanes with a second digit, in their order, those for whose digits there is room.
template <CodeKind kind>
uint64_t BlockCoder<kind>::lanes_that_fit(const Levels& l) const {
  uint64_t fit = 0;
  int seconds = 0, thirds = 0, fourths = 0;
  for (uint64_t rest = l.second.lanes & ~l.unsayable; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    const bool deep = (l.third.lanes >> lane & 1) != 0, deeper = (l.fourth.lanes >> lane & 1) != 0;
    if (seconds == second_limit || (deep && thirds == third_limit) || (deeper && fourths == fourth_limit)) continue;
    seconds += 1, thirds += deep, fourths += deeper;
    fit |= uint64_t{1} << lane;
  }
  return fit;
}

// Splits a class, eight lanes at a time: what is left of those that reach `escape`, a byte of 255 for each in `reached`.
uint64_t cut_digit(uint64_t rest, uint64_t reached, int escape, uint8_t* digits) {
  const uint64_t all_ones = each_byte(static_cast<uint64_t>(escape)) & reached;
  store_word(digits, (rest & ~reached) | all_ones);
  return (rest & reached) - all_ones;
}

template <CodeKind kind>
void BlockCoder<kind>::encode(const uint8_t* elements, uint32_t block, uint8_t* fixed, Streams& streams) const {
  constexpr int bytes = element_bytes(kind);
  Lanes lanes;
  split_lanes<kind>(shape, classes, elements, lanes);
  uint8_t(&with_digit)[kCodedBlock] = lanes.fixed[digit_at / 8];
  const int digit_shift = digit_at % 8;
  Levels levels;
  auto& [second, third, fourth, unsayable] = levels;
  for (int at = 0; at < kCodedBlock; at += 8) {
    const uint64_t cls = load_word(lanes.classes + at), more = bytes_from(cls, most);
    uint8_t first[8];
    uint64_t rest = cut_digit(cls, more, most, first);
    store_word(with_digit + at, load_word(with_digit + at) | load_word(first) << digit_shift);
    const uint64_t deep = shape.third_bits != 0 ? bytes_from(rest, escape) : 0;
    rest = cut_digit(rest, deep, escape, second.digits + at);
    const uint64_t deeper = shape.fourth_bits != 0 ? bytes_from(rest, third_escape) : 0;
    store_word(fourth.digits + at, cut_digit(rest, deeper, third_escape, third.digits + at));
    second.lanes |= bit_of_bytes(more, 0) << at;
    third.lanes |= bit_of_bytes(deep, 0) << at;
    fourth.lanes |= bit_of_bytes(deeper, 0) << at;
    unsayable |= bit_of_bytes(bytes_from(cls, last + 1), 0) << at;
    if constexpr (kind == CodeKind::sparse) store_word(fourth.digits + at, ~load_word(elements + at) >> 7 & each_byte(1));
  }
  if constexpr (kind == CodeKind::sparse) fourth.lanes = second.lanes;

  if (!fits(levels)) {
    const uint64_t fit = lanes_that_fit(levels);
    for (uint64_t rest = second.lanes & ~fit; rest != 0; rest &= rest - 1) {
      const int lane = std::countr_zero(rest);
      with_digit[lane] &= static_cast<uint8_t>(~(most << digit_shift));
      streams.add_exception(block, lane, elements + lane_offset(bytes, lane), bytes);
    }
    for (Level* level : {&second, &third, &fourth}) level->lanes &= fit;
  }
  for_fields(fixed_bits(shape), [&](int first, int bits, int offset) { pack_field(lanes.fixed[first / 8], first % 8, bits, fixed + offset); });
  second.planes(shape.second_bits).write(streams.second, shape.second_bits);
  third.planes(shape.third_bits).write(streams.third, shape.third_bits);
  if (fourth_bits != 0) streams.downwards.push_back(fourth.planes(fourth_bits));
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

Encoder::Encoder(CodeKind kind, std::span<const std::span<const uint8_t>> samples, bool file) {
  ClassCounts histogram;
  for (const auto& sample : samples) histogram.add(kind, sample);
  std::vector<std::pair<double, CodeShape>> shapes;  // by what they are expected to take
  for (const CodeShape& shape : shapes_of(kind, histogram)) shapes.emplace_back(handicap(shape, file) * estimated_bits(shape, histogram), shape);
  std::ranges::stable_sort(shapes, {}, &std::pair<double, CodeShape>::first);
  // The estimate does not see how classes cluster in blocks; coding a part of the sample does.
  constexpr size_t kTried = 3, kTriedBytes = size_t{1} << 18;
  double least = INFINITY;
  PanelCode code;
  for (size_t i = 0; i < std::min(kTried, shapes.size()); ++i) {
    const Encoder candidate(shapes[i].second);
    size_t bytes = 0, coded = 0;
    for (const auto& sample : samples) {
      if (coded >= kTriedBytes) break;
      candidate.encode(sample, code);
      bytes += code.bytes.size();
      coded += sample.size();
    }
    const double cost = handicap(candidate.shape(), file) * static_cast<double>(bytes);
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
  streams.second.finish();
  streams.third.finish();
  streams.write_downwards(bits_downwards(shape_));
  out.second_bytes = static_cast<uint32_t>(streams.second_bytes.size());
  out.third_bytes = static_cast<uint32_t>(streams.third_bytes.size());
  for (const auto* part : {&streams.second_bytes, &streams.third_bytes, &streams.blocks, &streams.lanes, &streams.values})
    out.bytes.insert(out.bytes.end(), part->begin(), part->end());
}

}  // namespace codecllm
