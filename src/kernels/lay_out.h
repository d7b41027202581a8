// SPDX-License-Identifier: Apache-2.0
// A 64-byte line of the kernels' order takes 4 bytes of each of sixteen rows; stored rows have these 4 bytes in one piece, but
// for some elements in another order within it or within the line. Compiled for every ISA tier.
#pragma once

#include <string.h>

#include "kernels/views.h"

namespace codecllm {

constexpr int64_t kPieceBytes = 4;

// Two columns of a piece stand in the two halves of the line, [2][16 rows][2 bytes]; else a row's piece is in one place.
CODECLLM_INLINE constexpr bool splits_pieces(Element element) { return element == Element::f16 || is_float8(element); }

// The bits of a piece of `element` in the order of a line. u4: the file has column j in bits 4 j, a line columns j and j + 4 in byte j.
CODECLLM_INLINE constexpr uint32_t piece_bits(Element element, uint32_t piece) {
  if (element != Element::u4) return piece;
  uint32_t out = 0;
  for (int j = 0; j < 4; ++j) out |= ((piece >> 4 * j & 15) | (piece >> (16 + 4 * j) & 15) << 4) << 8 * j;
  return out;
}

// Piece `index` of a row to its place in the line; bytes behind the row's end are zero before they are flipped.
CODECLLM_INLINE void put_piece(const MatrixView& w, int64_t row, int64_t lane, int64_t index, uint8_t* line) {
  const int64_t left = w.stored->row_bytes - index * kPieceBytes;
  uint32_t piece = 0;
  memcpy(&piece, w.stored->row(row) + index * kPieceBytes, static_cast<size_t>(left < kPieceBytes ? left : kPieceBytes));
  piece = piece_bits(w.element, piece ^ w.stored->flip * 0x01010101u);
  if (splits_pieces(w.element)) {
    memcpy(line + lane * 2, &piece, 2);
    memcpy(line + kLineBytes / 2 + lane * 2, reinterpret_cast<const uint8_t*>(&piece) + 2, 2);
  } else {
    memcpy(line + lane * kPieceBytes, &piece, kPieceBytes);
  }
}

// Lines [begin, end) of a panel one piece at a time; rows beyond the matrix are zero. out: where line `begin` is.
CODECLLM_INLINE void lay_out_pieces(const MatrixView& w, int64_t panel, int64_t begin, int64_t end, uint8_t* out) {
  const int64_t first = panel * kPanelRows, rows = w.rows - first < kPanelRows ? w.rows - first : kPanelRows;
  if (rows < kPanelRows) memset(out, 0, static_cast<size_t>((end - begin) * kLineBytes));
  for (int64_t line = begin; line < end; ++line)
    for (int64_t lane = 0; lane < rows; ++lane) put_piece(w, first + lane, lane, line, out + (line - begin) * kLineBytes);
}

}  // namespace codecllm
