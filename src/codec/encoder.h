// SPDX-License-Identifier: Apache-2.0
// Coding a tensor's panels.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "codec/shapes.h"

namespace codecllm {

struct PanelCode {
  std::vector<uint8_t> bytes;  // fixed parts, digits of each further level, exceptions
  std::array<uint32_t, kMostDigits - 1> digit_bytes = {};
};

class Encoder {
 public:
  // `samples`: whole panels, typical of the tensor. Takes the shape that codes them in the fewest bytes, each with its handicap.
  Encoder(CodeKind kind, std::span<const std::span<const uint8_t>> samples, Prefer prefer);
  explicit Encoder(const CodeShape& shape);

  const CodeShape& shape() const { return shape_; }
  // elements: whole blocks, at most 65536 of them. Elements lie in lane_offset's order.
  void encode(std::span<const uint8_t> elements, PanelCode& out) const;

 private:
  CodeShape shape_;
  ClassOf classes_;
};

}  // namespace codecllm
