// SPDX-License-Identifier: Apache-2.0
// What a checkpoint holds, and what is wrong with it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/context.h"
#include "io/checkpoint.h"

namespace codecllm {

// A tensor that is entropy-coded.
struct CodedReport {
  std::string kind;        // as docs/codec.md names it
  std::vector<int> digits; // bits of the first to the last
  int low_bits = 0;        // written as they are, besides sign or mantissa
  int64_t weights = 0;
  double bits_per_weight = 0;  // of the container, whole; scales stand apart
};

struct TensorReport {
  std::string name, dtype;
  std::vector<int64_t> shape;
  uint64_t bytes = 0;
  double entropy_bits = 0;  // per element, of the stored codes or 16-bit patterns as independent symbols; 0: not measured
  std::optional<CodedReport> coded;
  int64_t not_finite = 0;
  float min = 0, max = 0;   // plain floats
};

struct ScaleReport {
  std::map<std::string, int64_t> dtypes;
  int64_t count = 0, zeros = 0;
  double min = 0, max = 0, mean = 0;
};

struct Problem {
  bool error;          // false: works here, but something will surprise
  std::string text;    // names tensor or file
  std::string remedy;
};

struct InspectResult {
  std::string family;
  std::map<std::string, int64_t> kinds;    // embedding, attention, mlp, lm_head, norm
  std::map<std::string, int64_t> dtypes;   // tensors by type
  std::map<std::string, int64_t> schemes;  // linear layers by scheme
  int64_t linear_layers = 0;
  double parameters = 0;
  uint64_t weight_bytes = 0;
  double bits_per_weight = 0;  // quantized layers (all linear ones where none is) with scales and all overhead
  ScaleReport scales;
  std::vector<TensorReport> tensors;
  std::vector<Problem> problems;
};

InspectResult inspect(const Context& context, const Checkpoint& checkpoint, const Progress& progress = {});

}  // namespace codecllm
