// SPDX-License-Identifier: Apache-2.0
#include "codec/shapes.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace codecllm {

ClassOf classes_of(const CodeShape& shape) {
  ClassOf classes;
  for (int i = 0; i < 256; ++i) classes.of[i] = codes_integers(shape.kind) ? static_cast<uint8_t>(i) : kNoClass;
  if (!codes_integers(shape.kind))
    for (int i = kClasses - 1; i >= 0; --i) classes.of[shape.table[i]] = static_cast<uint8_t>(i);
  return classes;
}

namespace {

// Digits behind the first, in order, and how many there are.
struct Digits {
  int bits[3];
  int count;
};

Digits digits_of(const CodeShape& shape) {
  const Digits digits = {{shape.second_bits, shape.third_bits, shape.fourth_bits}, 1 + (shape.third_bits != 0) + (shape.fourth_bits != 0)};
  return digits;
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

}  // namespace

int last_class(const CodeShape& shape) {
  const Digits digits = digits_of(shape);
  int last = (1 << shape.first_bits) - 1;
  for (int d = 0; d < digits.count; ++d) last += (1 << digits.bits[d]) - 1;
  return codes_integers(shape.kind) ? last : std::min(last, kClasses - 1);
}

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

void ClassCounts::add(CodeKind kind, std::span<const uint8_t> elements) {
  const CodeShape whole = {kind, 0, 2, 0, {}};
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
  if (!codes_integers(kind)) {
    shape.first_bits = 3;
    shape.third_bits = shape.fourth_bits = 0;
    for (shape.second_bits = 2; shape.second_bits <= 3; ++shape.second_bits) shapes.push_back(shape);
  }
  return shapes;
}

double handicap(const CodeShape& shape, bool file) {
  const bool wide = element_bytes(shape.kind) > 1 && !file;
  return (wide && shape.third_bits != 0 ? 1.05 : 1) * (shape.fourth_bits != 0 ? 1.01 : 1);
}

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

}  // namespace codecllm
