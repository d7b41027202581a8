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

// The shape that takes the fewest bits per element, and those, by counting alone.
CodeShape best_shape(CodeKind kind, const ClassCounts& histogram, double& bits);

// What a shape's bytes are multiplied by where shapes are compared, since digits take a decoder time: a fourth digit an eighth more, so it
// must save one bit in a hundred; with 16- and 32-bit elements a third digit a third more, and it must save one in twenty, but not in a
// `file`, from which nothing is multiplied.
double handicap(const CodeShape& shape, bool file = false);

// By counting, as if the elements were independent.
double estimated_bits(const CodeShape& shape, const ClassCounts& histogram);

// All shapes that decoders know, for one kind.
std::vector<CodeShape> shapes_of(CodeKind kind, const ClassCounts& histogram);

// The class of every selector.
ClassOf classes_of(const CodeShape& shape);

// The largest class that the digits can say.
int last_class(const CodeShape& shape);

}  // namespace codecllm
