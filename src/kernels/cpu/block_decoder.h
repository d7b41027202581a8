// SPDX-License-Identifier: Apache-2.0
// The blocks of a coded panel, one after another, a few at a time; and the code for each shape of code.
#pragma once

#include "kernels/cpu/coded_kinds.h"
#include "kernels/cpu/digit_streams.h"

namespace codecllm::CODECLLM_TIER {
namespace {

VEC void ask_for_panel(const CodedView& view, int64_t panel) {
  if (panel >= view.panels) return;
  const PanelStreams s = streams_of(view, panel);
  const auto ask = [](const uint8_t* from, const uint8_t* end) __attribute__((always_inline)) {
    end = end - from < kAheadDigitBytes ? end : from + kAheadDigitBytes;
    for (; from < end; from += kLineBytes) prefetch(from);
  };

  for (int level = 0; level < kMostDigits - 1; ++level) ask(s.digits[level], s.digits_end(level));
  ask(s.exceptions, s.exceptions + (3 + element_bytes(view.shape.kind)) * s.exception_count);
}

// No step waits for another but through the position in the second digits, which takes a popcount a block.
template <class Block>
class BlockDecoder {
 public:
  static constexpr int64_t kDecodedBytes = kCodedBlock * Block::kBytes;

  VEC BlockDecoder(const CodedView& view, const PanelStreams& s) : block_(view.shape), digits_(view.shape, s), fixed_(s.fixed) {}

  // The next `count` blocks, at most kFillBlocks. beside(i) goes on beside the decoding of the i-th of them.
  template <class Beside>
  VEC void next(int64_t count, uint8_t* out, const Beside& beside) {
    digits_.fill();
    const uint8_t* digits = digits_.next();
    const uint8_t* fixed = fixed_;
    int64_t i = 0;
    const auto step = [&]() __attribute__((always_inline)) {
      const Opened opened = block_.open(fixed);
      const vb v = add_bytes(opened.v, expand_bytes(digits, opened.more));
      digits += _mm_popcnt_u64(opened.more);
      block_.finish(opened, v, fixed, out + i * kDecodedBytes);
      beside(i);
      fixed += kBlock;
      ++i;
    };
    while (i + 4 <= count) {
      for (int line = 0; line < 4 * kBlock; line += kLineBytes) {
        prefetch_far(fixed + kFarBytes + line);
        prefetch(fixed + kNearBlocks * kBlock + line);
      }
      for (int four = 0; four < 4; ++four) step();
    }
    while (i < count) step();
    fixed_ = fixed;
    digits_.take_until(digits);
  }

 private:
  static constexpr int kBlock = Block::kFixed * 8;  // bytes
  // Fixed parts are asked for twice: from memory, and, when that has come, from the second-level cache.
  static constexpr int kFarBytes = kBlock > kLineBytes ? 6144 : kAheadBytes, kNearBlocks = 32;

  const Block block_;
  DigitStreams digits_;
  const uint8_t* fixed_;
};

template <class T>
struct Type {
  using Of = T;
};

// Calls body(Type<Block>()) for the shape's.
template <template <int> class Block, class Body>
VEC void at_first_bits(const CodeShape& shape, const Body& body) {
  if (shape.digit_bits[0] == 3) {
    body(Type<Block<3>>());
  } else {
    body(Type<Block<2>>());
  }
}

template <bool kOdd, int kFixed = 2, class Body>
VEC void at_fixed_bits(const CodeShape& shape, const Body& body) {
  if constexpr (kFixed < 8)
    if (fixed_bits(shape) != kFixed) return at_fixed_bits<kOdd, kFixed + 1>(shape, body);
  body(Type<IntegerBlock<kOdd, kFixed>>());
}

}  // namespace
}  // namespace codecllm::CODECLLM_TIER
