// SPDX-License-Identifier: Apache-2.0
// LLM.int8() (Dettmers et al. 2022) as bitsandbytes stores it: rows of INT8, and SCB, the largest magnitude of each row:
//   w = code * SCB / 127
#include "format/plain_float.h"
#include "io/header_scanner.h"
#include "io/quant_method.h"
#include "io/tensor_name.h"

namespace codecllm::quant_method {

namespace {

void add_rows(const Checkpoint& checkpoint, const std::string& module, const TensorInfo& codes, const QuantArgs& inputs, Translation& out,
              SchemeList& schemes) {
  const auto fail = [&](const TensorInfo& tensor, const std::string& what) {
    throw Error(ErrorCode::bad_input, "bitsandbytes", what, {.file = checkpoint.file_of(tensor), .tensor = shown(tensor.name)});
  };
  const TensorInfo& largest = checkpoint.need(module + ".SCB");
  if (codes.shape.size() != 2 || codes.shape[0] < 1 || codes.shape[1] < 1) fail(codes, "is no matrix");
  if (largest.dtype != DType::f32 || largest.elements() != codes.shape[0]) fail(largest, "expected one number of type F32 for each row");
  if (const TensorInfo* order = checkpoint.find(module + ".weight_format"))
    if (order->data.size() != 1 || order->data[0] != std::byte{0})
      fail(*order, "the weights are in the order of a GPU's units; save the model again with a newer bitsandbytes");
  const MappedFile& file = checkpoint.mapped_file_of(codes);
  out.pass(codes, file);
  const auto scales = out.make(module + ".weight_scale", DType::f32, {codes.shape[0], 1}, file);
  for (int64_t row = 0; row < codes.shape[0]; ++row) {
    const float scale = load_float(largest.data.data(), row, DType::f32) / 127;
    store_float(scales.data(), row, DType::f32, scale == 0 ? 0x1p-23f : scale);  // rows of zeros have SCB 0
  }
  schemes.add(module, {.name = "custom", .weights = QuantArgs{.num_bits = 8, .strategy = Strategy::channel}, .activations = inputs}, "int-quantized");
}

}  // namespace

void bitsandbytes(const Checkpoint& checkpoint, const Json& settings, Translation& out) {
  if (!json_or<bool>(settings, "load_in_8bit", false, checkpoint.config_path()))
    throw Error(ErrorCode::unsupported, "bitsandbytes", "only LLM.int8() is read of bitsandbytes, not its 4-bit types; quantize the " +
                                                            std::string("16-bit original with int4-g128"),
                {.file = checkpoint.config_path()});
  const auto threshold = json_or<float>(settings, "llm_int8_threshold", 6.0f, checkpoint.config_path());
  QuantArgs inputs = {.num_bits = 8, .strategy = Strategy::token, .dynamic = true};
  if (threshold > 0) inputs.outliers = OutlierArgs{.threshold = threshold};  // 0: all features are INT8
  SchemeList schemes;
  for (const TensorInfo* tensor : checkpoint.tensors()) {
    const auto [module, part] = split_tensor_name(tensor->name);
    const TensorInfo* codes = checkpoint.find(std::string(module) + ".weight");
    const bool coded = codes != nullptr && codes->dtype == DType::i8;
    if (coded && part == ".weight") {
      add_rows(checkpoint, std::string(module), *tensor, inputs, out, schemes);
    } else if (!coded || (part != ".SCB" && part != ".weight_format")) {
      out.pass(*tensor, checkpoint.mapped_file_of(*tensor));
    }
  }
  out.config["quantization_config"] = schemes.config();
}

}  // namespace codecllm::quant_method
