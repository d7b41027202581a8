// SPDX-License-Identifier: Apache-2.0
// Rounding that counts the bits of the code (entropy-constrained scalar quantization: Chou, Lookabaugh and Gray 1989): the
// code q of the least  (x - q)^2 + lambda bits(q),  x and q in steps.
#pragma once

#include <cmath>
#include <cstdint>

#include "codec/coded_view.h"

namespace codecllm {

class RateRounding {
 public:
  RateRounding() : RateRounding({.kind = CodeKind::integer, .low_bits = 0, .digit_bits = {}, .table = {}}, 0) {}
  // lambda: squared steps that a bit is worth; 0 rounds to the nearest.
  RateRounding(const CodeShape& shape, double lambda);

  // For x in scales: integer and sparse kinds have x near the code, odd ones too (a step is two scales).
  int8_t code(double x) const {
    const int negative = x < 0 ? 1 : 0;
    const double steps = std::fabs(x) * per_scale_;
    int level = steps < kLevels - 1 ? static_cast<int>(steps + half_) : kLevels - 1;
    if (level > largest_) level = largest_;
    while (steps < from_[negative][level]) --level;
    const int magnitude = odd_ ? 2 * level + 1 : level;
    return static_cast<int8_t>(negative != 0 ? -magnitude : magnitude);
  }

 private:
  static constexpr int kLevels = 128;
  bool odd_;
  int largest_;               // level: magnitude of the code, or where codes are odd half of it
  double half_, per_scale_;   // nearest level = floor(steps + half)
  float from_[2][kLevels];    // [sign][level]: from here on, in steps, the level beats those below; 0 for level 0
};

}  // namespace codecllm
