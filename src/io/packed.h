// SPDX-License-Identifier: Apache-2.0
// compressed-tensors' pack-quantized bits: integers of 1 to 8 bits, each stored as code + 2^(bits-1), in
// 32-bit words.
#pragma once

#include <cstddef>
#include <cstdint>

namespace codecllm {

// dense: one stream of bits per row, least significant first, crossing words. per_word (compressed-tensors
// before 0.17): floor(32 / bits) codes per word, the top bits of a word unused. The same for 1, 2, 4 and 8
// bits.
enum class Packing : uint8_t { dense, per_word };

// Words that hold n codes.
size_t packed_words(size_t n, int bits, Packing packing = Packing::dense);

// Which packing gives `words` for n codes. Short rows of 3, 5, 6 and 7 bits can fit both: dense, as written
// today. Throws Error(bad_input) where none fits.
Packing packing_of(size_t n, int bits, size_t words);

// Codes from -2^(bits-1) to 2^(bits-1)-1 into packed_words(n, bits) dense words; unused bits are zero.
void pack_row(const int8_t* codes, size_t n, int bits, uint32_t* words);

// Codes begin .. begin+n of one row. `words` may be unaligned, as tensors in files are.
void unpack_row(const void* words, size_t begin, size_t n, int bits, Packing packing, int8_t* codes);

// Zero points are packed along rows: zero_points [rows, groups] <-> words [packed_words(rows, bits), groups].
void pack_zero_points(const int8_t* zero_points, size_t rows, size_t groups, int bits, uint32_t* words);
// Of one row and group.
int8_t zero_point_at(const void* words, size_t row, size_t group, size_t groups, int bits, Packing packing);
void unpack_zero_points(const void* words, size_t rows, size_t groups, int bits, Packing packing,
                        int8_t* zero_points);

}  // namespace codecllm
