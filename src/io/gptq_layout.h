// SPDX-License-Identifier: Apache-2.0
// The word layouts of GPTQ and AWQ against codes in rows of outputs. Codes and zeros are signed: the stored number minus
// 2^(bits-1).
#pragma once

#include <cstddef>
#include <cstdint>

namespace codecllm {

// GPTQ: codes [rows, columns] <-> words [columns * bits / 32, rows], each row's codes one string of bits down its column.
void gptq_unpack(const void* words, size_t rows, size_t columns, int bits, int8_t* codes);
void gptq_pack(const int8_t* codes, size_t rows, size_t columns, int bits, uint32_t* words);

// Zeros [rows, groups] <-> words [groups, rows * bits / 32]. The first version of the format stores them less one.
void gptq_unpack_zeros(const void* words, size_t rows, size_t groups, int bits, bool less_one, int8_t* zeros);
void gptq_pack_zeros(const int8_t* zeros, size_t rows, size_t groups, int bits, bool less_one, uint32_t* words);

// AWQ ("gemm"): 4 bits; values [lines, rows] in words [lines, rows / 8], whose nibbles hold rows 0 2 4 6 1 3 5 7. Weights
// are such values with a line for each column, zeros with one for each group; here [rows, lines].
void awq_unpack(const void* words, size_t rows, size_t lines, int8_t* values);
void awq_pack(const int8_t* values, size_t rows, size_t lines, uint32_t* words);

}  // namespace codecllm
