// SPDX-License-Identifier: Apache-2.0
#include "codec/rate_rounding.h"

#include <algorithm>

#include "codec/element_split.h"
#include "codec/shapes.h"

namespace codecllm {

RateRounding::RateRounding(const CodeShape& shape, double lambda)
    : odd_(shape.kind == CodeKind::odd), largest_(odd_ ? 63 : 127), half_(odd_ ? 0 : 0.5), per_scale_(odd_ ? 0.5 : 1) {
  for (int negative = 0; negative < 2; ++negative) {
    double bits[kLevels];
    for (int level = 0; level < kLevels; ++level) {
      const int magnitude = std::min(odd_ ? 2 * level + 1 : level, 127);
      const SplitElement element = split_element(shape, static_cast<uint32_t>(128 + (negative != 0 ? -magnitude : magnitude)));
      bits[level] = class_bits(shape, element.selector);
    }
    for (int level = 0; level < kLevels; ++level) {
      double from = 0;
      // Equal costs of two levels: (x - a)^2 + lambda bits(a) = (x - b)^2 + lambda bits(b)
      for (int below = 0; below < level; ++below)
        from = std::max(from, 0.5 * (level + below) + 0.5 - half_ + lambda * (bits[level] - bits[below]) / (2.0 * (level - below)));
      from_[negative][level] = static_cast<float>(from);
    }
  }
}

}  // namespace codecllm
