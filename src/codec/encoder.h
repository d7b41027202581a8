// SPDX-License-Identifier: Apache-2.0
// Choosing a code for a tensor, and coding its panels.
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

struct PanelCode {
  std::vector<uint8_t> bytes;  // fixed part, second digits, third digits, exceptions
  uint32_t second_bytes = 0, third_bytes = 0;
};

class Encoder {
 public:
  // `samples`: whole panels, typical of the tensor. Takes the shape that codes them in the fewest bytes.
  Encoder(CodeKind kind, std::span<const std::span<const uint8_t>> samples);
  explicit Encoder(const CodeShape& shape);

  const CodeShape& shape() const { return shape_; }
  // elements: whole blocks, at most 65536 of them. Elements lie in lane_offset's order.
  void encode(std::span<const uint8_t> elements, PanelCode& out) const;

 private:
  struct Streams;
  template <CodeKind kind>
  void encode_blocks(std::span<const uint8_t> elements, PanelCode& out, Streams& streams) const;
  template <CodeKind kind>
  void encode_block(const uint8_t* elements, uint32_t block, uint8_t* fixed, Streams& streams) const;

  CodeShape shape_;
  ClassOf classes_;
};

// The shape that takes the fewest bits per element, and those, by counting alone.
CodeShape best_shape(CodeKind kind, const ClassCounts& histogram, double& bits);

// All shapes that decoders know, for one kind.
std::vector<CodeShape> shapes_of(CodeKind kind, const ClassCounts& histogram);

}  // namespace codecllm
