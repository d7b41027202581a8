// SPDX-License-Identifier: Apache-2.0
// Sixteen lines at a time, 64 bytes of each of sixteen rows, transposed as 4-byte pieces. In vectors of 256 bits on every tier:
// processors with wider ones permute them at half the rate.
#include "kernels/cpu/vec.h"
#include "kernels/lay_out.h"

namespace codecllm::CODECLLM_TIER {

namespace {

constexpr int64_t kLines = 16;

VEC __m256i load_two(const uint8_t* low, const uint8_t* high) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(low))),
                                 _mm_loadu_si128(reinterpret_cast<const __m128i*>(high)), 1);
}

VEC __m256i shift_in(__m256i piece) {  // the low four nibbles of each piece to the low halves of its bytes
  const __m256i low = _mm256_and_si256(piece, _mm256_set1_epi32(0xFFFF));
  const __m256i two = _mm256_and_si256(_mm256_or_si256(low, _mm256_slli_epi32(low, 8)), _mm256_set1_epi32(0x00FF00FF));
  return _mm256_and_si256(_mm256_or_si256(two, _mm256_slli_epi32(two, 4)), _mm256_set1_epi32(0x0F0F0F0F));
}

template <Element kElement>
VEC __m256i ordered(__m256i pieces, __m256i flip) {
  pieces = _mm256_xor_si256(pieces, flip);
  if constexpr (kElement != Element::u4) return pieces;
  return _mm256_or_si256(shift_in(pieces), _mm256_slli_epi32(shift_in(_mm256_srli_epi32(pieces, 16)), 4));
}

// The first two bytes of each piece, then the second two.
VEC void split_halves(uint8_t* line) {
  auto* half = reinterpret_cast<__m256i*>(line);
  const __m256i a = _mm256_loadu_si256(half), b = _mm256_loadu_si256(half + 1), mask = _mm256_set1_epi32(0xFFFF);
  const auto pack = [](__m256i x, __m256i y) { return _mm256_permute4x64_epi64(_mm256_packus_epi32(x, y), 0xD8); };
  _mm256_storeu_si256(half, pack(_mm256_and_si256(a, mask), _mm256_and_si256(b, mask)));
  _mm256_storeu_si256(half + 1, pack(_mm256_srli_epi32(a, 16), _mm256_srli_epi32(b, 16)));
}

// Four pieces of eight rows to their halves of four lines.
template <Element kElement>
VEC void transpose(const uint8_t* from, int64_t stride, __m256i flip, uint8_t* out) {
  const auto rows = [&](int64_t i) __attribute__((always_inline)) { return load_two(from + i * stride, from + (i + 4) * stride); };
  const __m256i r0 = rows(0), r1 = rows(1), r2 = rows(2), r3 = rows(3);
  const __m256i a = _mm256_unpacklo_epi32(r0, r1), b = _mm256_unpacklo_epi32(r2, r3);
  const __m256i c = _mm256_unpackhi_epi32(r0, r1), d = _mm256_unpackhi_epi32(r2, r3);
  const auto put = [&](int64_t line, __m256i pieces) __attribute__((always_inline)) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + line * kLineBytes), ordered<kElement>(pieces, flip));
  };
  put(0, _mm256_unpacklo_epi64(a, b));
  put(1, _mm256_unpackhi_epi64(a, b));
  put(2, _mm256_unpacklo_epi64(c, d));
  put(3, _mm256_unpackhi_epi64(c, d));
}

template <Element kElement>
void lay_out(const MatrixView& w, int64_t panel, uint8_t* out) {
  const int64_t first = panel * kPanelRows, stride = w.stored->row_bytes;
  const int64_t whole = w.rows - first < kPanelRows ? 0 : stride / kPieceBytes / kLines * kLines;
  const __m256i flip = _mm256_set1_epi8(static_cast<char>(w.stored->flip));
  // Sixteen rows are one stretch of the file. The next sixteen are asked for in that order: rows are too short, and mapped in
  // pages too small, for the processor to see what comes.
  const uint8_t* next = w.stored->row(first + kPanelRows);
  for (int64_t line = 0; line < whole; line += kLines) {
    for (int64_t i = 0; i < kLines; ++i) prefetch_far(next + (line + i) * kLineBytes);
    for (int64_t i = 0; i < kPanelRows; ++i) prefetch(w.stored->row(first + i) + (line + kLines) * kPieceBytes);
    uint8_t* lines = out + line * kLineBytes;
    for (int64_t half = 0; half < 2; ++half)  // eight rows are as many as a set of the first-level cache holds
      for (int64_t i = 0; i < kLines; i += 4)
        transpose<kElement>(w.stored->row(first + half * 8) + (line + i) * kPieceBytes, stride, flip, lines + i * kLineBytes + half * 32);
    if constexpr (splits_pieces(kElement))
      for (int64_t i = 0; i < kLines; ++i) split_halves(lines + i * kLineBytes);
  }
  lay_out_pieces(w, panel, whole, w.lines(), out + whole * kLineBytes);
}

void lay_out_panel(const MatrixView& w, int64_t panel, uint8_t* out) {
  switch (w.element) {
#define ELEMENT(id, ...) \
  case Element::id: return lay_out<Element::id>(w, panel, out);
#include "kernels/element.def"
#undef ELEMENT
  }
}

}  // namespace

void fill_lay_out_panel(KernelTable& table) { table.lay_out_panel = lay_out_panel; }

}  // namespace codecllm::CODECLLM_TIER
