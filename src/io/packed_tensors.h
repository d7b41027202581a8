// SPDX-License-Identifier: Apache-2.0
// The tensors of one linear module whose weights are stored pack-quantized.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "format/scheme.h"
#include "io/checkpoint.h"
#include "io/packed.h"
#include "io/safetensors_writer.h"

namespace codecllm {

struct PackedTensors {
  int64_t rows = 0, columns = 0;       // weight_shape: outputs, inputs
  const TensorInfo* codes = nullptr;   // weight_packed: I32 [rows, packed_words(columns)]
  const TensorInfo* scales = nullptr;  // weight_scale: plain floats [scale_shape()], or [] for one per tensor
  // weight_zero_point, asymmetric only: I32 [packed_words(rows), groups]; I8 [1] for one per tensor
  const TensorInfo* zero_points = nullptr;
  const TensorInfo* group_of_column = nullptr;  // weight_g_idx, activation order only: I32 [columns]
  Packing packing = Packing::dense, zero_point_packing = Packing::dense;
};

// Finds and checks them: types, shapes, and sizes that agree with each other and with `args`. Throws
// Error(bad_input) that names the tensor.
PackedTensors packed_tensors(const Checkpoint& checkpoint, const std::string& module, const QuantArgs& args,
                             bool group_order = false);

// What to declare for writing such a module, in the order above (weight_shape last).
std::vector<TensorDecl> packed_decls(const std::string& module, int64_t rows, int64_t columns,
                                     const QuantArgs& args, DType scale_dtype);

}  // namespace codecllm
