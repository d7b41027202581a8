// SPDX-License-Identifier: Apache-2.0
#include "io/packed_reader.h"

#include <cstring>

#include "format/float16.h"

namespace codecllm {

PackedReader::PackedReader(const PackedTensors& tensors, const QuantArgs& args)
    : tensors_(tensors),
      args_(args),
      group_(args.strategy == Strategy::group ? args.group_size : tensors.columns),
      groups_(group_ > 0 ? (tensors.columns + group_ - 1) / group_ : 0) {}

void PackedReader::codes(int64_t row, int8_t* out) const {
  const std::byte* words = tensors_.codes->data.data() + row * tensors_.codes->shape[1] * 4;
  unpack_row(words, 0, static_cast<size_t>(columns()), args_.num_bits, tensors_.packing, out);
}

float PackedReader::scale(int64_t row, int64_t group) const {
  const int64_t at = args_.strategy == Strategy::tensor ? 0 : row * groups_ + group;
  const std::byte* from = tensors_.scales->data.data();
  if (tensors_.scales->dtype == DType::f32) {
    float value;
    std::memcpy(&value, from + at * 4, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, from + at * 2, 2);
  return tensors_.scales->dtype == DType::bf16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

}  // namespace codecllm
