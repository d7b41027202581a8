// SPDX-License-Identifier: Apache-2.0
#include "io/packed_reader.h"

#include "format/plain_float.h"

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
  return load_float(tensors_.scales->data.data(), at, tensors_.scales->dtype);
}

}  // namespace codecllm
