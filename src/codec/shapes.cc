// SPDX-License-Identifier: Apache-2.0
#include "codec/shapes.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

namespace codecllm {

ClassOf classes_of(const CodeShape& shape) {
  ClassOf classes;
  for (int i = 0; i < 256; ++i) classes.of[i] = codes_integers(shape.kind) ? static_cast<uint8_t>(i) : kNoClass;
  if (!codes_integers(shape.kind))
    for (int i = kClasses - 1; i >= 0; --i) classes.of[shape.table[i]] = static_cast<uint8_t>(i);
  return classes;
}

namespace {

// The classes that digits may have to say: more are not there.
int most_classes(const CodeShape& shape) {
  if (!codes_integers(shape.kind)) return kClasses;
  return ((shape.kind == CodeKind::odd ? 63 : 127) >> shape.low_bits) + 1;
}

// Of how many elements the class is at least so large.
struct TailCounts {
  double reaches[130] = {};

  TailCounts(const CodeShape& shape, const ClassCounts& histogram) {
    const ClassOf classes = classes_of(shape);
    for (int i = 0; i < 256; ++i) reaches[std::min<int>(classes.of[codes_integers(shape.kind) ? i >> shape.low_bits : i], 128)] += static_cast<double>(histogram.count[i]);
    for (int cls = 128; cls >= 0; --cls) reaches[cls] += reaches[cls + 1];
  }
};

// What a shape costs: bits, and digits behind the first, which take the decoder time.
struct Cost {
  double bits = 0, digits = 0;

  Cost(const CodeShape& shape, const TailCounts& tail) {
    bits = fixed_bits(shape) * tail.reaches[0];
    const double unsayable = tail.reaches[last_class(shape) + 1];
    bits += 8 * (3 + element_bytes(shape.kind)) * unsayable;
    for (int digit = 1, from = 0; digit < kMostDigits && shape.digit_bits[digit] != 0; ++digit) {
      from += (1 << shape.digit_bits[digit - 1]) - 1;
      const double with_digit = std::max(0.0, tail.reaches[std::min(from, 129)] - unsayable);
      bits += stored_digit_bits(shape, digit) * with_digit;
      digits += with_digit;
    }
  }
};

// Adds the shape with every choice of digits from number `digit` on. Where there are low bits, a second digit of one bit saves next to
// nothing and makes products a fifth slower.
void add_digits(CodeShape shape, int digit, std::vector<CodeShape>& out) {
  if (digit > 1) out.push_back(shape);
  if (digit == kMostDigits || (digit > 1 && last_class(shape) + 1 >= most_classes(shape))) return;
  const int most = std::min(most_digit_bits(shape.kind, digit), 7 - shape.low_bits);
  const bool two = digit == 0 ? !codes_integers(shape.kind) : digit == 1 && shape.low_bits > 0;
  for (int bits = two ? 2 : 1; bits <= most; ++bits) {
    shape.digit_bits[digit] = static_cast<uint8_t>(bits);
    add_digits(shape, digit + 1, out);
  }
}

}  // namespace

int most_digit_bits(CodeKind kind, int digit) {
  if (kind == CodeKind::sparse) return digit == 0 ? 1 : 5;
  return codes_integers(kind) ? digit == 0 ? 7 : 6 : digit == 0 ? 3 : 4;
}

int last_class(const CodeShape& shape) {
  int last = 0;
  for (const int bits : shape.digit_bits) last += (1 << bits) - 1;
  return std::min(last, most_classes(shape) - 1);
}

int class_bits(const CodeShape& shape, int cls) {
  int bits = fixed_bits(shape);
  if (cls > last_class(shape)) return bits + 8 * (3 + element_bytes(shape.kind));
  for (int digit = 1, rest = cls; digit < kMostDigits && shape.digit_bits[digit] != 0; ++digit) {
    rest -= (1 << shape.digit_bits[digit - 1]) - 1;
    if (rest < 0) break;
    bits += stored_digit_bits(shape, digit);
  }
  return bits;
}

void ClassCounts::add(CodeKind kind, std::span<const uint8_t> elements) {
  const CodeShape whole = {.kind = kind, .low_bits = 0, .digit_bits = {}, .table = {}};
  const int bytes = element_bytes(kind);
  uint64_t own[4][256] = {};  // neighbours are often alike, and a count waits for the one before
  for (size_t at = 0, i = 0; at + bytes <= elements.size(); at += bytes, ++i)
    ++own[i % 4][split_element(whole, load_element(elements.data() + at, bytes)).selector];
  for (int i = 0; i < 256; ++i) count[i] += own[0][i] + own[1][i] + own[2][i] + own[3][i];
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
  CodeShape shape = {.kind = kind, .low_bits = 0, .digit_bits = {}, .table = {}};
  if (!codes_integers(kind)) {
    std::vector<int> order(256);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return histogram.count[a] > histogram.count[b]; });
    for (int i = 0; i < kClasses; ++i) shape.table[i] = static_cast<uint8_t>(order[static_cast<size_t>(i)]);
  }
  std::vector<CodeShape> shapes;
  for (; shape.low_bits <= most_low_bits(kind); ++shape.low_bits) add_digits(shape, 0, shapes);
  return shapes;
}

std::vector<RatedShape> rated_shapes(CodeKind kind, const ClassCounts& histogram, Prefer prefer) {
  std::vector<RatedShape> rated;
  std::optional<TailCounts> tail;
  int low_bits = -1;
  for (const CodeShape& shape : shapes_of(kind, histogram)) {
    if (shape.low_bits != low_bits) tail.emplace(shape, histogram);
    low_bits = shape.low_bits;
    const Cost cost(shape, *tail);
    const double elements = std::max(1.0, tail->reaches[0]);
    rated.push_back({shape, cost.bits / elements, 1 + digit_handicap(kind, prefer) * cost.digits / elements});
  }
  return rated;
}

CodeShape best_shape(CodeKind kind, const ClassCounts& histogram, double& bits) {
  const std::vector<RatedShape> rated = rated_shapes(kind, histogram, Prefer::bytes);
  const RatedShape& best = *std::ranges::min_element(rated, {}, &RatedShape::cost);
  bits = best.bits;
  return best.shape;
}

}  // namespace codecllm
