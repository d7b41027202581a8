// SPDX-License-Identifier: Apache-2.0
// Entropy-coded weights of a checkpoint: `X.weight_coded` (a container) in place of `X.weight`, and `X.weight_scale` [rows, 1]
// where integers are coded.
#pragma once

#include <string>

#include "base/memory.h"
#include "codec/container.h"
#include "io/checkpoint.h"

namespace codecllm {

inline constexpr const char* kCodedSuffix = ".weight_coded";

struct CodedTensors {
  const TensorInfo* coded;
  const TensorInfo* scales;  // null for floating point
  Buffer bytes;              // the container; where it is mapped its header and records, by which decoders find their way
  CodedTensor opened;        // points into bytes, wherever they move, and, mapped, into the file
  ErrorPlace place;
};

// Throws Error for what is missing or damaged; `module` must have a coded weight. mapped: the panels stay in the file.
CodedTensors coded_tensors(const Checkpoint& checkpoint, const std::string& module, bool mapped = false);

}  // namespace codecllm
