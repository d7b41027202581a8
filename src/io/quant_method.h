// SPDX-License-Identifier: Apache-2.0
// Checkpoints of other quantizers, told in compressed-tensors' tensors and config.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "io/checkpoint.h"
#include "io/quant_config.h"

namespace codecllm {

// Nothing where the checkpoint's quant_method has no row in quant_method.def.
std::optional<Translation> translate_quant_method(const Checkpoint& checkpoint);

namespace quant_method {
// `settings`: config.json's quantization_config, or what stands in quantize_config.json. Each throws Error(unsupported)
// for settings it does not read, Error(bad_input) for tensors that do not fit them, and leaves the rest to `out`.
#define QUANT_METHOD(name, function) void function(const Checkpoint& checkpoint, const Json& settings, Translation& out);
#include "io/quant_method.def"
#undef QUANT_METHOD
}  // namespace quant_method

// Gathers the modules of each scheme and makes the config that names them.
class SchemeList {
 public:
  void add(const std::string& module, const QuantScheme& scheme, const std::string& format, bool group_order = false);
  Json config() const;

 private:
  std::vector<QuantGroup> groups_;
};

// A quantized linear layer as numbers: codes -2^(bits-1) to 2^(bits-1)-1, w = scale * (code - zero).
struct CodedLinear {
  int64_t rows = 0, columns = 0, group = 0;  // columns that share a scale
  int bits = 0;
  std::vector<int8_t> codes;                 // [rows, columns]
  std::vector<int8_t> zeros;                 // [rows, groups], or empty: all 0
  std::vector<float> scales;                 // [rows, groups]
  DType scale_type = DType::f32;             // F32, or what holds every scale as it is
  std::vector<int32_t> group_of_column;      // [columns], or empty: consecutive columns
};

// Writes it as pack-quantized and notes its scheme; symmetric where all zeros are 0.
void put_packed(const CodedLinear& linear, const std::string& module, const MappedFile& file, Translation& out, SchemeList& schemes);

}  // namespace codecllm
