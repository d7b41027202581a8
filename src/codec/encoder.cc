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

// The largest class that the digits can say.
int last_class(const CodeShape& shape) {
  const int second = (1 << shape.second_bits) - 1;
  const int last = shape.third_bits == 0 ? 3 + second : 3 + second + (1 << shape.third_bits) - 1;
  return codes_integers(shape.kind) ? last : std::min(last, kClasses - 1);
}

double estimated_bits(const CodeShape& shape, const Histogram& histogram) {
  const ClassOf classes = classes_of(shape);
  const int escape = 3 + (1 << shape.second_bits) - 1, last = last_class(shape);
  const int exception = 8 * (3 + element_bytes(shape.kind));
  double bits = static_cast<double>(histogram.total) * fixed_bits(shape.kind, shape.low_bits);
  for (int i = 0; i < 256; ++i) {
    if (histogram.count[i] == 0) continue;
    const int cls = classes.of[codes_integers(shape.kind) ? i >> shape.low_bits : i];
    int extra = 0;
    if (cls > last) {
      extra = exception;
    } else if (cls >= 3) {
      extra = shape.second_bits + (shape.third_bits != 0 && cls >= escape ? shape.third_bits : 0);
    }
    bits += static_cast<double>(histogram.count[i]) * extra;
  }
  return bits;
}

}  // namespace

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

namespace {

// The digits of one block on one level: plane by plane, one bit for each element that has the digit.
struct Planes {
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

}  // namespace

void Histogram::add(CodeKind kind, std::span<const uint8_t> elements) {
  const CodeShape whole = {kind, 0, 2, 0, {}};
  const int bytes = element_bytes(kind);
  for (size_t at = 0; at + bytes <= elements.size(); at += bytes)
    ++count[split_element(whole, load_element(elements.data() + at, bytes)).selector];
  total += elements.size() / bytes;
}

double entropy_bits(CodeKind kind, const Histogram& histogram) {
  if (histogram.total == 0) return 0;
  double bits = codes_integers(kind) ? 1 : mantissa_bits(kind) + 1;
  for (const uint64_t count : histogram.count) {
    if (count == 0) continue;
    const double p = static_cast<double>(count) / static_cast<double>(histogram.total);
    bits -= p * std::log2(p);
  }
  return bits;
}

std::vector<CodeShape> shapes_of(CodeKind kind, const Histogram& histogram) {
  CodeShape shape = {kind, 0, 2, 0, {}};
  if (!codes_integers(kind)) {
    std::vector<int> order(256);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return histogram.count[a] > histogram.count[b]; });
    for (int i = 0; i < kClasses; ++i) shape.table[i] = static_cast<uint8_t>(order[i]);
  }
  std::vector<CodeShape> shapes;
  for (int low = 0; low <= (codes_integers(kind) ? 5 : 0); ++low) {
    shape.low_bits = static_cast<uint8_t>(low);
#define LEVELS(second, third)    \
  shape.second_bits = second;    \
  shape.third_bits = third;      \
  shapes.push_back(shape);
#include "codec/levels.def"
#undef LEVELS
  }
  return shapes;
}

Encoder::Encoder(const CodeShape& shape) : shape_(shape), classes_(classes_of(shape)) {}

Encoder::Encoder(CodeKind kind, std::span<const std::span<const uint8_t>> samples) {
  Histogram histogram;
  for (const auto& sample : samples) histogram.add(kind, sample);
  std::vector<CodeShape> shapes = shapes_of(kind, histogram);
  std::stable_sort(shapes.begin(), shapes.end(), [&](const CodeShape& a, const CodeShape& b) {
    return estimated_bits(a, histogram) < estimated_bits(b, histogram);
  });
  // The estimate does not see how classes cluster in blocks; coding a part of the sample does.
  constexpr size_t kTried = 3, kTriedBytes = size_t{1} << 18;
  size_t least = SIZE_MAX;
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
    if (bytes >= least) continue;
    least = bytes;
    shape_ = shapes[i];
  }
  classes_ = classes_of(shape_);
}

struct Encoder::Streams {
  std::vector<uint8_t> second_bytes, third_bytes;
  BitWriter second{second_bytes}, third{third_bytes};
  std::vector<uint8_t> blocks, lanes, values;  // of the exceptions
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
  uint32_t packed[kCodedBlock];
  uint8_t cls[kCodedBlock];
  uint64_t more = 0;
  for (int lane = 0; lane < kCodedBlock; ++lane) {
    const uint32_t x = load_element(elements + lane_offset(bytes, lane), bytes);
    const SplitElement element = split_element(shape, x);
    const bool sayable = kind != CodeKind::odd || (x & 1) != 0;
    cls[lane] = sayable ? classes_.of[element.selector] : kNoClass;
    packed[lane] = pack_fixed(shape, element.raw, cls[lane] < 3 ? cls[lane] : 3);
    more |= static_cast<uint64_t>(cls[lane] >= 3) << lane;
  }
  const int last = last_class(shape), second_limit = kPlaneBits / shape.second_bits;
  const int third_limit = shape.third_bits == 0 ? 0 : kPlaneBits / shape.third_bits;
  const int escape = (1 << shape.second_bits) - 1;
  Planes second, third;
  for (; more != 0; more &= more - 1) {
    const int lane = std::countr_zero(more), rest = cls[lane] - 3;
    const bool deep = shape.third_bits != 0 && rest >= escape;
    if (cls[lane] <= last && second.count < second_limit && !(deep && third.count == third_limit)) [[likely]] {
      second.add(static_cast<uint32_t>(deep ? escape : rest));
      if (deep) third.add(static_cast<uint32_t>(rest - escape));
      continue;
    }
    const uint8_t* at = elements + lane_offset(bytes, lane);
    packed[lane] = pack_fixed(shape, split_element(shape, load_element(at, bytes)).raw, 0);
    streams.blocks.push_back(static_cast<uint8_t>(block));
    streams.blocks.push_back(static_cast<uint8_t>(block >> 8));
    streams.lanes.push_back(static_cast<uint8_t>(lane));
    streams.values.insert(streams.values.end(), at, at + bytes);
  }
  for_fields(fixed_bits(kind, shape.low_bits), [&](int first, int bits, int offset) { pack_field(packed, first, bits, fixed + offset); });
  second.write(streams.second, shape.second_bits);
  third.write(streams.third, shape.third_bits);
}

template <CodeKind kind>
void Encoder::encode_blocks(std::span<const uint8_t> elements, PanelCode& out, Streams& streams) const {
  constexpr size_t decoded = kCodedBlock * element_bytes(kind);
  const size_t blocks = elements.size() / decoded, block_bytes = static_cast<size_t>(fixed_bits(kind, shape_.low_bits)) * 8;
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
  }
  streams.second.finish();
  streams.third.finish();
  out.second_bytes = static_cast<uint32_t>(streams.second_bytes.size());
  out.third_bytes = static_cast<uint32_t>(streams.third_bytes.size());
  for (const auto* part : {&streams.second_bytes, &streams.third_bytes, &streams.blocks, &streams.lanes, &streams.values})
    out.bytes.insert(out.bytes.end(), part->begin(), part->end());
}

}  // namespace codecllm
