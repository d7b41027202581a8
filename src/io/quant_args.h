// SPDX-License-Identifier: Apache-2.0
// compressed-tensors' QuantArgs in JSON, both ways.
#pragma once

#include <string>

#include "base/json.h"
#include "format/scheme.h"

namespace codecllm {

struct StoredQuantArgs {
  QuantArgs args;
  bool group_order = false;  // actorder "group": weight_g_idx tells the group of every column
};

// Throws Error(bad_input) for what is wrong and Error(unsupported) for what this version does not read; both
// name the field. `where` is "group_0.weights" or the like.
StoredQuantArgs read_quant_args(const Json& json, const std::string& where, const std::string& file);

OrderedJson write_quant_args(const QuantArgs& args);

}  // namespace codecllm
