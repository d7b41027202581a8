// SPDX-License-Identifier: Apache-2.0
#include "codec/encoder.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

namespace codecllm {

namespace {

ClassOf classes_of(const CodeShape& shape) {
  ClassOf classes;
  for (int i = 0; i < 256; ++i) classes.of[i] = codes_integers(shape.kind) ? static_cast<uint8_t>(i) : kNoClass;
  if (!codes_integers(shape.kind))
    for (int i = kClasses - 1; i >= 0; --i) classes.of[shape.table[i]] = static_cast<uint8_t>(i);
  return classes;
}

// Digits behind the first, in order, and how many there are.
struct Digits {
  int bits[3];
  int count;
};

Digits digits_of(const CodeShape& shape) {
  const Digits digits = {{shape.second_bits, shape.third_bits, shape.fourth_bits}, 1 + (shape.third_bits != 0) + (shape.fourth_bits != 0)};
  return digits;
}

// The largest class that the digits can say.
int last_class(const CodeShape& shape) {
  const Digits digits = digits_of(shape);
  int last = (1 << shape.first_bits) - 1;
  for (int d = 0; d < digits.count; ++d) last += (1 << digits.bits[d]) - 1;
  return codes_integers(shape.kind) ? last : std::min(last, kClasses - 1);
}

// Of the elements of a block that have a digit, each with probability p, how many are beyond the `most` that fit.
double expected_beyond(double p, int most) {
  if (p <= 0) return 0;
  if (p >= 1) return static_cast<double>(kCodedBlock) - most;
  double beyond = 0, chance = std::pow(1 - p, static_cast<double>(kCodedBlock));  // of k elements
  for (int k = 0; k <= kCodedBlock; ++k) {
    if (k > most) beyond += (k - most) * chance;
    chance *= p / (1 - p) * static_cast<double>(kCodedBlock - k) / (k + 1);
  }
  return beyond;
}

// By counting, as if the elements were independent.
double estimated_bits(const CodeShape& shape, const ClassCounts& histogram) {
  const ClassOf classes = classes_of(shape);
  const Digits digits = digits_of(shape);
  const double total = static_cast<double>(std::max<uint64_t>(1, histogram.total));
  const int last = last_class(shape);
  double bits = 0, with_digit[3] = {};
  for (int i = 0; i < 256; ++i) {
    if (histogram.count[i] == 0) continue;
    const int cls = classes.of[codes_integers(shape.kind) ? i >> shape.low_bits : i];
    const auto count = static_cast<double>(histogram.count[i]);
    bits += count * class_bits(shape, cls);
    int from = (1 << shape.first_bits) - 1;
    for (int d = 0; d < digits.count && cls <= last && cls >= from; from += (1 << digits.bits[d]) - 1, ++d) with_digit[d] += count;
  }
  for (int d = 0; d < digits.count; ++d)
    bits += total / static_cast<double>(kCodedBlock) * expected_beyond(with_digit[d] / total, kPlaneBits / digits.bits[d]) * 8 * (3 + element_bytes(shape.kind));
  return bits;
}

}  // namespace

int class_bits(const CodeShape& shape, int cls) {
  const int fixed = fixed_bits(shape), first = (1 << shape.first_bits) - 1;
  if (cls > last_class(shape)) return fixed + 8 * (3 + element_bytes(shape.kind));
  const int sign = shape.kind == CodeKind::sparse && cls > 0 ? 1 : 0;
  if (cls < first) return fixed + sign;
  const Digits digits = digits_of(shape);
  int bits = fixed + sign, rest = cls - first;
  for (int d = 0; d < digits.count; ++d) {
    bits += digits.bits[d];
    rest -= (1 << digits.bits[d]) - 1;
    if (rest < 0) break;
  }
  return bits;
}

class BitWriter {
 public:
  explicit BitWriter(std::vector<uint8_t>& out) : out_(out) {}
  void put(uint64_t bits, int count) {  // count <= 57
    word_ |= bits << filled_;
    filled_ += count;
    if (out_.size() < size_ + 8) out_.resize(out_.size() * 2 + 64);
    for (int i = 0; i < 8; ++i) out_[size_ + i] = static_cast<uint8_t>(word_ >> (8 * i));
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
  void add(uint32_t digit) {
    for (int b = 0; b < 4; ++b) plane[b] |= static_cast<uint64_t>(digit >> b & 1) << count;
    ++count;
  }
  void write(BitWriter& out, int bits) const {
    for (int b = 0; count > 0 && b < bits; ++b) out.put(plane[b], count);
  }
};


void ClassCounts::add(CodeKind kind, std::span<const uint8_t> elements) {
  const CodeShape whole = {kind, 0, 2, 0, {}};
  const int bytes = element_bytes(kind);
  for (size_t at = 0; at + bytes <= elements.size(); at += bytes)
    ++count[split_element(whole, load_element(elements.data() + at, bytes)).selector];
  total += elements.size() / bytes;
}

void ClassCounts::add(const ClassCounts& other) {
  for (int i = 0; i < 256; ++i) count[i] += other.count[i];
  total += other.total;
}

double entropy_bits(CodeKind kind, const ClassCounts& histogram) {
  if (histogram.total == 0) return 0;
  double bits = codes_integers(kind) ? 1 : mantissa_bits(kind) + 1;
  if (kind == CodeKind::sparse) bits -= static_cast<double>(histogram.count[0]) / static_cast<double>(histogram.total);  // no sign
  for (const uint64_t count : histogram.count) {
    if (count == 0) continue;
    const double p = static_cast<double>(count) / static_cast<double>(histogram.total);
    bits -= p * std::log2(p);
  }
  return bits;
}

std::vector<CodeShape> shapes_of(CodeKind kind, const ClassCounts& histogram) {
  CodeShape shape = {kind, 0, 2, 0, {}};
  if (!codes_integers(kind)) {
    std::vector<int> order(256);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return histogram.count[a] > histogram.count[b]; });
    for (int i = 0; i < kClasses; ++i) shape.table[i] = static_cast<uint8_t>(order[i]);
  }
  std::vector<CodeShape> shapes;
  const auto add_levels = [&] {
#define LEVELS(second, third, fourth)                                 \
  shape.second_bits = second;                                         \
  shape.third_bits = third;                                           \
  shape.fourth_bits = fourth;                                         \
  if (kind != CodeKind::sparse || fourth == 0) shapes.push_back(shape);
#include "codec/levels.def"
#undef LEVELS
  };
  shape.first_bits = 1;
  if (codes_integers(kind)) add_levels();
  shape.first_bits = 2;
  for (int low = 0; kind != CodeKind::sparse && low <= (codes_integers(kind) ? 5 : 0); ++low) {
    shape.low_bits = static_cast<uint8_t>(low);
    add_levels();
  }
  return shapes;
}

// A fourth digit takes a decoder an eighth more time: it must save one bit in a hundred.
static double handicap(const CodeShape& shape) { return shape.fourth_bits == 0 ? 1 : 1.01; }

CodeShape best_shape(CodeKind kind, const ClassCounts& histogram, double& bits) {
  CodeShape best = {kind, 0, 2, 0, {}};
  double least = INFINITY;
  for (const CodeShape& shape : shapes_of(kind, histogram)) {
    const double total = handicap(shape) * estimated_bits(shape, histogram);
    if (total < least) least = total, best = shape;
  }
  bits = least / handicap(best) / static_cast<double>(std::max<uint64_t>(1, histogram.total));
  return best;
}

Encoder::Encoder(const CodeShape& shape) : shape_(shape), classes_(classes_of(shape)) {}

Encoder::Encoder(CodeKind kind, std::span<const std::span<const uint8_t>> samples) {
  ClassCounts histogram;
  for (const auto& sample : samples) histogram.add(kind, sample);
  std::vector<CodeShape> shapes = shapes_of(kind, histogram);
  std::stable_sort(shapes.begin(), shapes.end(), [&](const CodeShape& a, const CodeShape& b) {
    return handicap(a) * estimated_bits(a, histogram) < handicap(b) * estimated_bits(b, histogram);
  });
  // The estimate does not see how classes cluster in blocks; coding a part of the sample does.
  constexpr size_t kTried = 3, kTriedBytes = size_t{1} << 18;
  double least = INFINITY;
  PanelCode code;
  for (size_t i = 0; i < std::min(kTried, shapes.size()); ++i) {
    const Encoder candidate(shapes[i]);
    size_t bytes = 0, coded = 0;
    for (const auto& sample : samples) {
      if (coded >= kTriedBytes) break;
      candidate.encode(sample, code);
      bytes += code.bytes.size();
      coded += sample.size();
    }
    const double cost = handicap(shapes[i]) * static_cast<double>(bytes);
    if (cost >= least) continue;
    least = cost;
    shape_ = shapes[i];
  }
  classes_ = classes_of(shape_);
}

struct Encoder::Streams {
  std::vector<uint8_t> second_bytes, third_bytes, fourth_bytes;
  BitWriter second{second_bytes}, third{third_bytes}, fourth{fourth_bytes};
  std::vector<DigitPlanes> downwards;  // of each block; written from the last to the first
  std::vector<uint8_t> blocks, lanes, values;  // of the exceptions

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

// Fields of the fixed bits, from one number per lane.
static void pack_field(const uint32_t (&packed)[kCodedBlock], int first, int bits, uint8_t* out) {
  const uint32_t mask = (1u << bits) - 1;
  if (bits == 8) {
    for (int lane = 0; lane < kCodedBlock; ++lane) out[lane] = static_cast<uint8_t>(packed[lane] >> first);
  } else if (bits == 1) {
    for (int byte = 0; byte < 8; ++byte) {
      uint32_t x = 0;
      for (int i = 0; i < 8; ++i) x |= (packed[byte * 8 + i] >> first & 1) << i;
      out[byte] = static_cast<uint8_t>(x);
    }
  } else {
    const int stride = static_cast<int>(kCodedBlock) * bits / 8;
    for (int byte = 0; byte < stride; ++byte) {
      uint32_t x = 0;
      for (int i = 0; i < 8 / bits; ++i) x |= (packed[byte + i * stride] >> first & mask) << (i * bits);
      out[byte] = static_cast<uint8_t>(x);
    }
  }
}

template <CodeKind kind>
void Encoder::encode_block(const uint8_t* elements, uint32_t block, uint8_t* fixed, Streams& streams) const {
  constexpr int bytes = element_bytes(kind);
  CodeShape shape = shape_;
  shape.kind = kind;  // known to the compiler
  const uint32_t most = (1u << shape.first_bits) - 1;
  uint32_t packed[kCodedBlock];
  uint8_t cls[kCodedBlock];
  uint64_t more = 0;
  for (int lane = 0; lane < kCodedBlock; ++lane) {
    const uint32_t x = load_element(elements + lane_offset(bytes, lane), bytes);
    const SplitElement element = split_element(shape, x);
    const bool sayable = kind != CodeKind::odd || (x & 1) != 0;
    cls[lane] = sayable ? classes_.of[element.selector] : kNoClass;
    packed[lane] = pack_fixed(shape, element.raw, cls[lane] < most ? cls[lane] : most);
    more |= static_cast<uint64_t>(cls[lane] >= most) << lane;
  }
  const auto limit = [](int digit_bits) { return digit_bits == 0 ? 0 : kPlaneBits / digit_bits; };
  const int last = last_class(shape), second_limit = limit(shape.second_bits), third_limit = limit(shape.third_bits);
  const int fourth_limit = kind == CodeKind::sparse ? kPlaneBits : limit(shape.fourth_bits);
  const int escape = (1 << shape.second_bits) - 1, escape_third = escape + (1 << shape.third_bits) - 1;
  DigitPlanes second, third, fourth;
  for (; more != 0; more &= more - 1) {
    const int lane = std::countr_zero(more), rest = cls[lane] - static_cast<int>(most);
    const bool deep = shape.third_bits != 0 && rest >= escape, deeper = shape.fourth_bits != 0 && rest >= escape_third;
    if (cls[lane] <= last && second.count < second_limit && !(deep && third.count == third_limit) &&
        !((deeper || kind == CodeKind::sparse) && fourth.count == fourth_limit)) [[likely]] {
      second.add(static_cast<uint32_t>(deep ? escape : rest));
      if (deep) third.add(static_cast<uint32_t>((deeper ? escape_third : rest) - escape));
      if (deeper) fourth.add(static_cast<uint32_t>(rest - escape_third));
      if (kind == CodeKind::sparse) fourth.add(elements[lane] < 128 ? 1 : 0);
      continue;
    }
    const uint8_t* at = elements + lane_offset(bytes, lane);
    packed[lane] = pack_fixed(shape, split_element(shape, load_element(at, bytes)).raw, 0);
    streams.blocks.push_back(static_cast<uint8_t>(block));
    streams.blocks.push_back(static_cast<uint8_t>(block >> 8));
    streams.lanes.push_back(static_cast<uint8_t>(lane));
    streams.values.insert(streams.values.end(), at, at + bytes);
  }
  for_fields(fixed_bits(shape), [&](int first, int bits, int offset) { pack_field(packed, first, bits, fixed + offset); });
  second.write(streams.second, shape.second_bits);
  third.write(streams.third, shape.third_bits);
  if (kind == CodeKind::sparse || shape.fourth_bits != 0) streams.downwards.push_back(fourth);
}

template <CodeKind kind>
void Encoder::encode_blocks(std::span<const uint8_t> elements, PanelCode& out, Streams& streams) const {
  constexpr size_t decoded = kCodedBlock * element_bytes(kind);
  const size_t blocks = elements.size() / decoded, block_bytes = static_cast<size_t>(fixed_bits(shape_)) * 8;
  out.bytes.assign(blocks * block_bytes, 0);
  for (size_t block = 0; block < blocks; ++block)
    encode_block<kind>(elements.data() + block * decoded, static_cast<uint32_t>(block), out.bytes.data() + block * block_bytes, streams);
}

void Encoder::encode(std::span<const uint8_t> elements, PanelCode& out) const {
  Streams streams;
  switch (shape_.kind) {
    case CodeKind::integer: encode_blocks<CodeKind::integer>(elements, out, streams); break;
    case CodeKind::odd: encode_blocks<CodeKind::odd>(elements, out, streams); break;
    case CodeKind::bf16: encode_blocks<CodeKind::bf16>(elements, out, streams); break;
    case CodeKind::f16: encode_blocks<CodeKind::f16>(elements, out, streams); break;
    case CodeKind::f32: encode_blocks<CodeKind::f32>(elements, out, streams); break;
    case CodeKind::e4m3: encode_blocks<CodeKind::e4m3>(elements, out, streams); break;
    case CodeKind::sparse: encode_blocks<CodeKind::sparse>(elements, out, streams); break;
  }
  streams.second.finish();
  streams.third.finish();
  streams.write_downwards(shape_.kind == CodeKind::sparse ? 1 : shape_.fourth_bits);
  out.second_bytes = static_cast<uint32_t>(streams.second_bytes.size());
  out.third_bytes = static_cast<uint32_t>(streams.third_bytes.size());
  for (const auto* part : {&streams.second_bytes, &streams.third_bytes, &streams.blocks, &streams.lanes, &streams.values})
    out.bytes.insert(out.bytes.end(), part->begin(), part->end());
}

}  // namespace codecllm
