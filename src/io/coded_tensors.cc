// SPDX-License-Identifier: Apache-2.0
#include "io/coded_tensors.h"

#include <cstring>

#include "io/packed_tensors.h"

namespace codecllm {

CodedTensors coded_tensors(const Checkpoint& checkpoint, const std::string& module, bool mapped) {
  const TensorInfo& coded = checkpoint.need(module + kCodedSuffix);
  CodedTensors out = {.coded = &coded, .scales = nullptr, .bytes = {}, .opened = {}, .place = {.file = checkpoint.file_of(coded), .tensor = coded.name}};
  if (coded.dtype != DType::u8 || coded.shape.size() != 1)
    throw Error(ErrorCode::bad_input, "codec", "not a row of bytes, as coded weights are", out.place);
  std::span<const uint8_t> bytes = {reinterpret_cast<const uint8_t*>(coded.data.data()), coded.data.size()};
  if (mapped) {
    out.opened = open_coded(bytes, out.place.file, out.place.tensor);
    bytes = bytes.first(prefix_bytes(out.opened.header));
  }
  out.bytes = Buffer(bytes.size());
  if (!bytes.empty()) std::memcpy(out.bytes.data(), bytes.data(), bytes.size());
  if (!mapped) out.opened = open_coded(out.bytes.as<const uint8_t>(), out.place.file, out.place.tensor);
  out.opened.view.records = out.bytes.as<const uint8_t>().data() + kHeaderBytes;
  if (!has_scales(out.opened.header.shape.kind)) return out;
  out.scales = &checkpoint.need(module + ".weight_scale");
  if (!is_plain_float(out.scales->dtype) || out.scales->shape != std::vector<int64_t>{static_cast<int64_t>(out.opened.header.rows), 1})
    throw Error(ErrorCode::bad_input, "codec", "not one scale of type F32, BF16 or F16 for every row",
                {.file = checkpoint.file_of(*out.scales), .tensor = out.scales->name});
  return out;
}

}  // namespace codecllm
