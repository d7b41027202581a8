// SPDX-License-Identifier: Apache-2.0
#include "io/gptq_layout.h"

#include <vector>

#include "io/packed.h"

namespace codecllm {

namespace {

constexpr size_t kAwqOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};  // row in a word of nibble i

void transpose(const int8_t* from, size_t lines, size_t length, int8_t* to) {
  for (size_t i = 0; i < lines; ++i)
    for (size_t j = 0; j < length; ++j) to[j * lines + i] = from[i * length + j];
}

// A signed zero plus `add` as the unsigned number of `bits` bits that it is stored as, wrapping, signed again.
int8_t shifted(int8_t zero, int add, int bits) {
  const int half = 1 << (bits - 1);
  return static_cast<int8_t>(((zero + half + add) & (2 * half - 1)) - half);
}

}  // namespace

void gptq_unpack(const void* words, size_t rows, size_t columns, int bits, int8_t* codes) {
  std::vector<int8_t> transposed(rows * columns);
  unpack_zero_points(words, columns, rows, bits, Packing::dense, transposed.data());
  transpose(transposed.data(), columns, rows, codes);
}

void gptq_pack(const int8_t* codes, size_t rows, size_t columns, int bits, uint32_t* words) {
  std::vector<int8_t> transposed(rows * columns);
  transpose(codes, rows, columns, transposed.data());
  pack_zero_points(transposed.data(), columns, rows, bits, words);
}

void gptq_unpack_zeros(const void* words, size_t rows, size_t groups, int bits, bool less_one, int8_t* zeros) {
  std::vector<int8_t> line(rows);
  const size_t line_words = packed_words(rows, bits);
  for (size_t g = 0; g < groups; ++g) {
    unpack_row(static_cast<const char*>(words) + g * line_words * 4, 0, rows, bits, Packing::dense, line.data());
    for (size_t row = 0; row < rows; ++row) zeros[row * groups + g] = shifted(line[row], less_one ? 1 : 0, bits);
  }
}

void gptq_pack_zeros(const int8_t* zeros, size_t rows, size_t groups, int bits, bool less_one, uint32_t* words) {
  std::vector<int8_t> line(rows);
  const size_t line_words = packed_words(rows, bits);
  for (size_t g = 0; g < groups; ++g) {
    for (size_t row = 0; row < rows; ++row) line[row] = shifted(zeros[row * groups + g], less_one ? -1 : 0, bits);
    pack_row(line.data(), rows, bits, words + g * line_words);
  }
}

void awq_unpack(const void* words, size_t rows, size_t lines, int8_t* values) {
  std::vector<int8_t> line(rows);
  for (size_t i = 0; i < lines; ++i) {
    unpack_row(static_cast<const char*>(words) + i * rows / 2, 0, rows, 4, Packing::dense, line.data());
    for (size_t row = 0; row < rows; ++row) values[(row / 8 * 8 + kAwqOrder[row % 8]) * lines + i] = line[row];
  }
}

void awq_pack(const int8_t* values, size_t rows, size_t lines, uint32_t* words) {
  std::vector<int8_t> line(rows);
  for (size_t i = 0; i < lines; ++i) {
    for (size_t row = 0; row < rows; ++row) line[row] = values[(row / 8 * 8 + kAwqOrder[row % 8]) * lines + i];
    pack_row(line.data(), rows, 4, words + i * rows / 8);
  }
}

}  // namespace codecllm
