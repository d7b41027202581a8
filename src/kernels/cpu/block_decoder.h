// SPDX-License-Identifier: Apache-2.0
// The blocks of a coded panel, one after another, a few at a time; and the code for each shape of code.
#pragma once

#include "kernels/cpu/coded_kinds.h"

namespace codecllm::CODECLLM_TIER {
namespace {

template <int kSecondBits, int kThirdBits, int kFourthBits>
struct LevelBits {
  static constexpr int kSecond = kSecondBits, kThird = kThirdBits, kFourth = kFourthBits;
};

// Digits take a few bytes of each block, too few for the processor to see the streams: a line that it waits for costs as
// much as a dozen blocks. They are asked for so many bytes ahead.
constexpr int64_t kAheadDigits = 1024;

// Where a panel's streams begin; the fourth digits' is read from its end.
VEC void ask_for_panel(const CodedView& view, int64_t panel) {
  if (panel >= view.panels) return;
  const PanelStreams s = streams_of(view, panel);
  for (int64_t line = 0; line <= kAheadDigits; line += kLineBytes) {
    prefetch(s.fixed + line);
    prefetch(s.second + line);
    prefetch(s.third + line);
    prefetch(s.exceptions - line);
  }
}

// Three blocks are on their way: each step of one waits for the step before it, a dozen cycles, and the steps of the others
// fill the time. Read-ahead past the last block stays within the panel's digits and the slack.
template <class Block, class Levels>
class BlockDecoder {
 public:
  static constexpr int64_t kDecodedBytes = kCodedBlock * Block::kBytes;

  VEC BlockDecoder(const CodedView& view, const PanelStreams& s)
      : streams_{{s.second, 0, s.second_bits}, {s.third, 0, s.third_bits}, {s.third, s.third_bits, 0}}, fixed_(s.fixed) {
    Block::prepare(view.shape, tables_);
    first_ = Block::open(fixed_);
    second_ = Block::open(fixed_ + kBlock);
    add_second_digits(first_);
  }

  // The next `count` blocks: kClampBlocks, or, of the last, those that are left. beside(i) goes on beside the decoding of the
  // i-th of them: most of what decoding takes are integer registers, and products take the others.
  template <class Beside>
  VEC void next(int64_t count, uint8_t* out, const Beside& beside) {
    streams_.second.clamp();
    streams_.third.clamp();
    streams_.fourth.clamp_downwards();
    streams_.second.ask(kAheadDigits);
    streams_.third.ask(kAheadDigits);
    if constexpr (Levels::kFourth > 0 || Block::kFixed == 1) streams_.fourth.ask(-kAheadDigits);
    for (int64_t i = 0; i < count; ++i, fixed_ += kBlock, out += kDecodedBytes) {
      for (int line = 0; line < kBlock; line += kLineBytes) {
        prefetch_far(fixed_ + kFarBytes + line);
        prefetch(fixed_ + kNearBlocks * kBlock + line);
      }
      add_second_digits(second_);
      const Lanes third = Block::open(fixed_ + 2 * kBlock);
      if constexpr (Levels::kThird > 0) {
        const uint64_t deeper = streams_.third.template add<Levels::kThird>(first_.v, first_.more, Block::kUnit);
        if constexpr (Levels::kFourth > 0) streams_.fourth.template add_below<Levels::kFourth>(first_.v, deeper, Block::kUnit);
      }
      Block::finish(first_, fixed_, streams_, tables_, out);
      first_ = second_;
      second_ = third;
      beside(i);
    }
  }

 private:
  static constexpr int kBlock = Block::kFixed * 8;  // bytes
  // Fixed parts are asked for twice: from memory, and, when that has come, from the second-level cache.
  static constexpr int kFarBytes = kBlock > kLineBytes ? 6144 : kAheadBytes, kNearBlocks = 10;
  static_assert(2 * kBlock < kCodedSlack);

  VEC void add_second_digits(Lanes& lanes) {
    lanes.more = streams_.second.template add<Levels::kSecond>(lanes.v, lanes.more, Block::kUnit);
  }

  PanelReaders streams_;
  const uint8_t* fixed_;  // of the block to finish
  Lanes first_, second_;
  alignas(16) uint8_t tables_[2][16];
};

// Calls body(LevelBits) for the shape's.
template <class Block, class Body>
VEC void at_levels(const CodeShape& shape, const Body& body) {
#define LEVELS(second, third, fourth)                                                                   \
  if constexpr ((fourth == 0 || Block::kFixed > 1) && (third == 0 || Block::kFirst < 3))                \
    if (shape.second_bits == second && shape.third_bits == third && shape.fourth_bits == fourth)       \
      return body(LevelBits<second, third, fourth>());
#include "codec/levels.def"
#undef LEVELS
}

// Calls body(Block<first bits>, LevelBits) for floating point.
template <template <int> class Block, class Body>
VEC void at_first_bits(const CodeShape& shape, const Body& body) {
  if (shape.first_bits == 3) {
    at_levels<Block<3>>(shape, [&](auto levels) { body(Block<3>(), levels); });
  } else {
    at_levels<Block<2>>(shape, [&](auto levels) { body(Block<2>(), levels); });
  }
}

// Calls body(Block, LevelBits) for codes of integers with at most kMostLow low bits; whether it did.
template <bool kOdd, int kMostLow, int kLow = 0, class Body>
VEC bool at_low_bits(const CodeShape& shape, const Body& body) {
  if constexpr (kLow == 0)
    if (shape.first_bits == 1) {
      using Block = IntegerBlock<kOdd, 0, 1>;
      at_levels<Block>(shape, [&](auto levels) { body(Block(), levels); });
      return true;
    }
  if (shape.low_bits == kLow) {
    using Block = IntegerBlock<kOdd, kLow, 2>;
    at_levels<Block>(shape, [&](auto levels) { body(Block(), levels); });
    return true;
  }
  if constexpr (kLow < kMostLow) {
    return at_low_bits<kOdd, kMostLow, kLow + 1>(shape, body);
  } else {
    return false;
  }
}

}  // namespace
}  // namespace codecllm::CODECLLM_TIER
