// SPDX-License-Identifier: Apache-2.0
// The codes that decoders know, what an element costs in each, and which is the best for a tensor.
#pragma once

#include <span>
#include <vector>

#include "codec/coded_view.h"
#include "codec/element_split.h"

namespace codecllm {

// How often each class selector (exponent, or magnitude) occurs. Integer kinds count whole magnitudes.
struct ClassCounts {
  uint64_t count[256] = {};
  uint64_t total = 0;
  void add(CodeKind kind, std::span<const uint8_t> elements);
  void add(const ClassCounts& other);
};

// Bits of an element of this class, exceptions included.
int class_bits(const CodeShape& shape, int cls);

// Bits per element of an ideal order-0 code of the selector, plus the bits that are stored as they are.
double entropy_bits(CodeKind kind, const ClassCounts& histogram);

// Digits behind the first take a decoder time. Matrices whose codes are given prefer speed: a digit for every element counts as so much
// more of all bits where shapes are compared. Codes of a rate, whose bits are accuracy, and files, from which nothing is multiplied, prefer bytes.
enum class Prefer : uint8_t { speed, bytes };
constexpr double digit_handicap(CodeKind kind, Prefer prefer) { return prefer == Prefer::bytes ? 0 : element_bytes(kind) > 1 ? 0.15 : 0.07; }

struct RatedShape {
  CodeShape shape;
  double bits;      // per element, by counting alone
  double handicap;  // what they are multiplied by for the digits behind the first
  double cost() const { return bits * handicap; }
};

// All shapes that can be of use, for one kind.
std::vector<RatedShape> rated_shapes(CodeKind kind, const ClassCounts& histogram, Prefer prefer);
std::vector<CodeShape> shapes_of(CodeKind kind, const ClassCounts& histogram);

// The one of the fewest bits, and those.
CodeShape best_shape(CodeKind kind, const ClassCounts& histogram, double& bits);

// What decoders know: low bits up to these, digits of 1 to so many bits (number 0 is the first; of floating point it has at least 2).
constexpr int most_low_bits(CodeKind kind) { return kind == CodeKind::integer || kind == CodeKind::odd ? 5 : 0; }
int most_digit_bits(CodeKind kind, int digit);

// The class of every selector.
ClassOf classes_of(const CodeShape& shape);

// The largest class that the digits can say.
int last_class(const CodeShape& shape);

}  // namespace codecllm
