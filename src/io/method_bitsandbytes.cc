// SPDX-License-Identifier: Apache-2.0
// LLM.int8() (Dettmers et al. 2022) as bitsandbytes stores it: rows of INT8, and SCB, the largest magnitude of each row:
//   w = code * SCB / 127
#include <cstring>

#include "format/plain_float.h"
#include "io/header_scanner.h"
#include "io/packed.h"
#include "io/quant_method.h"

namespace codecllm::quant_method {

namespace {

void add_rows(const Checkpoint& checkpoint, const std::string& module, const TensorInfo& codes, Translation& out) {
  const auto fail = [&](const TensorInfo& tensor, const std::string& what) {
    throw Error(ErrorCode::bad_input, "bitsandbytes", what, {.file = checkpoint.file_of(tensor), .tensor = shown(tensor.name)});
  };
  const TensorInfo& largest = checkpoint.need(module + ".SCB");
  if (codes.shape.size() != 2 || codes.shape[0] < 1 || codes.shape[1] < 1) fail(codes, "is no matrix");
  if (largest.dtype != DType::f32 || largest.elements() != codes.shape[0]) fail(largest, "expected one number of type F32 for each row");
  if (const TensorInfo* order = checkpoint.find(module + ".weight_format"))
    if (order->data.size() != 1 || order->data[0] != std::byte{0})
      fail(*order, "the weights are in the order of a GPU's units; save the model again with a newer bitsandbytes");
  const int64_t rows = codes.shape[0], columns = codes.shape[1];
  const auto words = static_cast<int64_t>(packed_words(static_cast<size_t>(columns), 8));
  const MappedFile& file = checkpoint.mapped_file_of(codes);
  const auto packed = out.make(module + ".weight_packed", DType::i32, {rows, words}, file);
  const auto scales = out.make(module + ".weight_scale", DType::f32, {rows, 1}, file);
  const auto shape = out.make(module + ".weight_shape", DType::i64, {2}, file);
  std::memcpy(shape.data(), codes.shape.data(), 16);
  std::vector<uint32_t> line(static_cast<size_t>(words));
  for (int64_t row = 0; row < rows; ++row) {
    pack_row(reinterpret_cast<const int8_t*>(codes.data.data()) + row * columns, static_cast<size_t>(columns), 8, line.data());
    std::memcpy(packed.data() + row * words * 4, line.data(), line.size() * 4);
    const float scale = load_float(largest.data.data(), row, DType::f32) / 127;
    store_float(scales.data(), row, DType::f32, scale > 0 || scale < 0 ? scale : 0x1p-23f);  // rows of zeros have SCB 0
  }
}

}  // namespace

void bitsandbytes(const Checkpoint& checkpoint, const Json& settings, Translation& out) {
  if (!json_or<bool>(settings, "load_in_8bit", false, checkpoint.config_path()))
    throw Error(ErrorCode::unsupported, "bitsandbytes", "only LLM.int8() is read of bitsandbytes, not its 4-bit types; quantize the " +
                                                            std::string("16-bit original with int4-g128"),
                {.file = checkpoint.config_path()});
  SchemeList schemes;
  for (const TensorInfo* tensor : checkpoint.tensors()) {
    const size_t dot = tensor->name.rfind('.');
    const std::string module = tensor->name.substr(0, dot == std::string::npos ? 0 : dot), part = tensor->name.substr(module.size());
    const TensorInfo* codes = checkpoint.find(module + ".weight");
    const bool coded = codes != nullptr && codes->dtype == DType::i8;
    if (coded && part == ".weight") {
      add_rows(checkpoint, module, *tensor, out);
      schemes.add(module, {.name = "custom", .weights = QuantArgs{.num_bits = 8, .strategy = Strategy::channel}}, "pack-quantized");
    } else if (!coded || (part != ".SCB" && part != ".weight_format")) {
      out.pass(*tensor, checkpoint.mapped_file_of(*tensor));
    }
  }
  out.config["quantization_config"] = schemes.config();
  out.note("LLM.int8() takes activations above a threshold in 16 bits and the others as INT8; here all are taken in 16 bits",
           "nothing to do: the weights are the same, and the activations closer");
}

}  // namespace codecllm::quant_method
