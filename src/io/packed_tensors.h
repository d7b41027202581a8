// SPDX-License-Identifier: Apache-2.0
// The tensors of one linear module whose weights are quantized: pack-quantized (integers in words), or one byte a code
// (int-quantized, float-quantized, naive-quantized).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "format/scheme.h"
#include "io/checkpoint.h"
#include "io/packed.h"
#include "io/quant_config.h"
#include "io/safetensors_writer.h"

namespace codecllm {

struct PackedTensors {
  int64_t rows = 0, columns = 0;       // outputs, inputs
  bool in_words = true;                // weight_packed, with weight_shape; false: weight
  const TensorInfo* codes = nullptr;   // I32 [rows, packed_words(columns)], or I8, F8_E4M3, F8_E5M2 [rows, columns]
  const TensorInfo* scales = nullptr;  // weight_scale: a scale type, [scale_shape()], or [] for one per tensor
  // weight_zero_point, asymmetric only: I32 [packed_words(rows), groups]; I8 with codes in bytes, one per tensor, or by old writers
  const TensorInfo* zero_points = nullptr;
  const TensorInfo* group_of_column = nullptr;  // weight_g_idx, activation order only: I32 [columns]
  // outlier_columns, I32, ascending, and, but where there are none, outlier_weight, floats [rows, columns of these]: columns
  // whose codes are 0. Both null where the scheme does not store columns.
  const TensorInfo *outlier_columns = nullptr, *outlier_weight = nullptr;
  Packing packing = Packing::dense, zero_point_packing = Packing::dense;
};

// Whether the module's weight is stored as codes, by its tensors' names and types alone.
bool is_stored_quantized(const Checkpoint& checkpoint, const std::string& module);
// The module whose codes this tensor holds; "" where it holds none.
std::string module_of_codes(const TensorInfo& tensor);

// Finds and checks them: types, shapes, and sizes that agree with each other and with `args`. Throws
// Error(bad_input) that names the tensor.
PackedTensors packed_tensors(const Checkpoint& checkpoint, const std::string& module, const QuantArgs& args,
                             bool group_order = false);
// And that columns in 16 bits, where config.json tells of them, are there. The group has a scheme for weights.
PackedTensors packed_tensors(const Checkpoint& checkpoint, const std::string& module, const QuantGroup& group);

// Of a module whose activations have a scale from calibration: one number above zero. Throws Error(bad_input) that names the
// tensor.
float fixed_input_scale(const Checkpoint& checkpoint, const std::string& module);

// Of everything above.
uint64_t packed_bytes(const PackedTensors& tensors);

// The numbers of outlier_columns; empty where there are none.
std::vector<int32_t> outlier_columns_of(const PackedTensors& tensors);

// What to declare for writing such a module, in the order above (weight_shape last): words, or with `bytes` one byte a
// code, as floats always have.
std::vector<TensorDecl> packed_decls(const std::string& module, int64_t rows, int64_t columns,
                                     const QuantArgs& args, DType scale_dtype, bool bytes = false);

}  // namespace codecllm
