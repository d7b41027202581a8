// SPDX-License-Identifier: Apache-2.0
// Integers in groups, as GPTQ, AWQ and GGUF have them, from whatever the source has.
#pragma once

#include <functional>

#include "base/context.h"
#include "quant/convert_source.h"

namespace codecllm {

// How codes are found where those of the source do not fit: for a group's values, the scale as it will be stored.
using GroupRounder = std::function<float(std::span<const float> values, int8_t* codes)>;
GroupRounder nearest_codes(int bits, DType scale_type);  // amax / (2^(bits-1) - 1)

// What a layout can express.
struct IntegerLayout {
  int bits = 8;
  int64_t group = 0;            // columns that share a scale
  DType scale_type = DType::f16;
  bool zeros = false;           // w = scale * (code - zero), else zero is 0
  bool order = false;           // a group may be any columns
  GroupRounder round = nearest_codes(bits, scale_type);
};

struct EncodedLinear {
  int64_t rows = 0, columns = 0, group = 0;
  std::vector<int8_t> codes;   // [rows, columns]
  std::vector<float> scales;   // [rows, groups], as they will be stored
  std::vector<int8_t> zeros;   // [rows, groups]
  std::vector<int32_t> order;  // [columns]: the columns group by group; empty: as they are
  Change change;

  int64_t groups() const { return columns / group; }
};

// The source's codes, scales, zero points and order where the layout can express them all; else, all of them anew by
// `layout.round`.
EncodedLinear encode_linear(const Context& context, const SourceLinear& source, const IntegerLayout& layout);

}  // namespace codecllm
