// SPDX-License-Identifier: Apache-2.0
// The digits of a panel behind the first, unpacked ahead: a byte for each element that has a second digit, with what its
// further digits add. These are added to a group of sixty-four at once, so that a level costs a fraction of the one before.
#pragma once

#include "kernels/cpu/byte_lanes.h"
#include "kernels/views.h"

namespace codecllm::CODECLLM_TIER {
namespace {

constexpr int64_t kFillBlocks = 32;  // blocks between two calls of fill(): how much there is to do is a branch that is never foreseen
// Bytes that are asked for ahead: a stream gives a few in each block, too few for the processor to see it.
constexpr int64_t kAheadDigitBytes = 1024;

constexpr int64_t kFirstNeed = kFillBlocks * kCodedBlock;
// Of a level of which `need` digits are made ready: read positions below `need`, those digits, a group
// beyond, and what copies and expand_bytes read beyond that.
constexpr int64_t digit_room(int64_t need) { return 2 * need + kDigitGroup + 128; }

class DigitStreams {
 public:
  VEC DigitStreams(const CodeShape& shape, const PanelStreams& s) {
    uint8_t* bytes = bytes_;
    const int shift = shape.kind == CodeKind::sparse ? 1 : shape.low_bits;
    for (int level = 0; level < kMostDigits - 1 && shape.digit_bits[level + 1] != 0; ++level) {
      const uint64_t all_ones = (uint64_t{1} << shape.digit_bits[level + 1]) - 1;
      const bool sign = shape.kind == CodeKind::sparse && level == 0;
      Level& l = levels_[level];
      l.stream = s.digits[level];
      l.end = s.digits_end(level);
      l.bits = stored_digit_bits(shape, level + 1);
      l.unpacker = {static_cast<int>(l.bits), sign ? 0 : shift, static_cast<int>(all_ones << shift) + (sign ? 1 : 0)};
      l.all_ones = static_cast<int>(all_ones << shift);
      l.bytes = l.write = bytes;
      l.read = bytes;
      bytes += digit_room(level == 0 ? kFirstNeed : kDigitGroup);
      count_ = level + 1;
    }
  }

  DigitStreams(const DigitStreams&) = delete;  // it points into itself
  DigitStreams& operator=(const DigitStreams&) = delete;

  // Makes ready what kFillBlocks blocks may take.
  void fill() { refill(0, kFirstNeed); }

  // Where the next are; what was taken is said afterwards.
  VEC const uint8_t* next() const { return levels_[0].read; }
  VEC void take_until(const uint8_t* at) { levels_[0].read = at; }

 private:
  struct Level {
    const uint8_t *stream, *end;
    int64_t bits;        // of a digit in the stream
    Unpacker unpacker;
    int all_ones;        // a digit behind which there is one more, in its place
    uint8_t* bytes;
    const uint8_t* read;
    uint8_t* write;
  };

  __attribute__((noinline)) void refill(int level, int64_t need) {
    Level& l = levels_[level];
    if (l.read - l.bytes >= need) {
      const int64_t left = l.write - l.read;
      for (int64_t i = 0; i < left; i += kLineBytes) store_bytes(l.bytes + i, load_bytes(l.read + i));
      l.read = l.bytes;
      l.write = l.bytes + left;
    }
    const uint8_t *stream = l.stream, *const enough = l.read + need;
    uint8_t* write = l.write;
    const Unpacker unpacker = l.unpacker;
    const int64_t group = kDigitGroup / 8 * l.bits;
    const vb below = set1_byte(l.all_ones - 1);
    for (Level& deeper = levels_[level + 1]; write < enough && stream < l.end; write += kDigitGroup) {
      prefetch(stream + kAheadDigitBytes);
      vb v = unpacker.unpack(stream);
      stream += group;
      if (level + 1 < count_) {
        if (deeper.write - deeper.read < kDigitGroup) refill(level + 1, kDigitGroup);
        const uint64_t more = above(v, below);
        v = add_bytes(v, expand_bytes(deeper.read, more));
        deeper.read += _mm_popcnt_u64(more);
      }
      store_bytes(write, v);
    }
    for (; write < enough; write += kDigitGroup) store_bytes(write, set1_byte(0));  // only nonsense takes them
    l.stream = stream;
    l.write = write;
  }

  Level levels_[kMostDigits];
  int count_ = 0;
  alignas(64) uint8_t bytes_[digit_room(kFirstNeed) + (kMostDigits - 2) * digit_room(kDigitGroup)];
};

}  // namespace
}  // namespace codecllm::CODECLLM_TIER
