// SPDX-License-Identifier: Apache-2.0
// Products of one activation row with entropy-coded weights. Blocks are decoded into two pieces by turns, which never leave the
// first-level cache, patched, and multiplied from there while the next are decoded. With many rows, decode_panel and the products of plain weights are as fast.
#pragma once

#include "kernels/cpu/block_decoder.h"
#include "kernels/cpu/tiles.h"

namespace codecllm::CODECLLM_TIER {
namespace {

// The accumulators and the decoder's registers together are more than AVX2 has.
constexpr bool kFusesCoded = kWideVectors;

// Blocks that are decoded, then patched, then multiplied: so many that the patches, which no processor can foresee, are rare, and
// so few that two such pieces leave the first-level cache room for the streams.
constexpr int64_t kPiece = kFillBlocks;

// The sums of a panel's sixteen rows, from `sums` on. Product has
//   Sums; kUnits: of a block; kUnitBytes: of a unit's activations
//   step(sums, decoded block, its activations)
//   patch(where an element is decoded to, the element, the kind of code)
//   rest(sums, decoded units, their activations, how many), a function of its own: it is called twice a panel
// units: of all blocks.
template <class Product, class Block>
VEC typename Product::Sums sum_panel(typename Product::Sums sums, const CodedView& view, int64_t panel, const uint8_t* activations, int64_t units) {
  constexpr int64_t kDecoded = kCodedBlock * Block::kBytes, kBytes = Product::kUnits * Product::kUnitBytes;
  alignas(64) uint8_t pieces[2][kPiece * kDecoded];
  const PanelStreams s = streams_of(view, panel);
  ask_for_panel(view, panel + 1);
  BlockDecoder<Block> decoder(view, s);
  uint8_t *to = pieces[0], *from = pieces[1];
  const uint8_t* x = activations;  // of the blocks at `from`
  int64_t exception = 0, count = 0;
  for (int64_t block = 0; block < view.blocks; block += kPiece) {
    count = view.blocks - block < kPiece ? view.blocks - block : kPiece;
    if (block == 0) {
      decoder.next(count, to, [](int64_t) __attribute__((always_inline)) {});
    } else {
      decoder.next(count, to, [&](int64_t i) __attribute__((always_inline)) { Product::step(sums, from + i * kDecoded, x + i * kBytes); });
      if (count < kPiece) sums = Product::rest(sums, from + count * kDecoded, x + count * kBytes, (kPiece - count) * Product::kUnits);
    }
    exception = patch_exceptions(s, Block::kBytes, exception, block, block + count, to,
                                 [&](uint8_t* at, const uint8_t* element) { Product::patch(at, element, view.shape.kind); });
    x = activations + block * kBytes;
    uint8_t* const decoded = to;
    to = from;
    from = decoded;
  }
  return Product::rest(sums, from, x, units - (view.blocks - count) * Product::kUnits);
}

}  // namespace
}  // namespace codecllm::CODECLLM_TIER
