// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/block_decoder.h"

namespace codecllm::CODECLLM_TIER {

namespace {

template <class Block>
void decode_blocks(const CodedView& view, const PanelStreams& s, uint8_t* out) {
  BlockDecoder<Block> decoder(view, s);
  for (int64_t block = 0; block < view.blocks; block += kFillBlocks, out += kFillBlocks * decoder.kDecodedBytes)
    decoder.next(view.blocks - block < kFillBlocks ? view.blocks - block : kFillBlocks, out, [](int64_t) {});
}

template <template <int> class Block>
void decode_floats(const CodedView& view, const PanelStreams& s, uint8_t* out) {
  at_first_bits<Block>(view.shape, [&](auto block) { decode_blocks<typename decltype(block)::Of>(view, s, out); });
}

template <bool kOdd>
void decode_integers(const CodedView& view, const PanelStreams& s, uint8_t* out) {
  at_fixed_bits<kOdd>(view.shape, [&](auto block) { decode_blocks<typename decltype(block)::Of>(view, s, out); });
}

void decode_panel(const CodedView& view, int64_t panel, uint8_t* out) {
  const PanelStreams s = streams_of(view, panel);
  ask_for_panel(view, panel + 1);
  switch (view.shape.kind) {
    case CodeKind::integer: decode_integers<false>(view, s, out); break;
    case CodeKind::odd: decode_integers<true>(view, s, out); break;
    case CodeKind::bf16: decode_floats<Bf16Block>(view, s, out); break;
    case CodeKind::f16: decode_floats<HalfBlock>(view, s, out); break;
    case CodeKind::f32: decode_floats<F32Block>(view, s, out); break;
    case CodeKind::e4m3: decode_floats<Float8Block>(view, s, out); break;
    case CodeKind::sparse: decode_blocks<SparseBlock>(view, s, out); break;
  }
  patch_exceptions(s, view, out);
}

}  // namespace

void fill_decode_panel(KernelTable& table) { table.decode_panel = decode_panel; }

}  // namespace codecllm::CODECLLM_TIER
