// SPDX-License-Identifier: Apache-2.0
// Writing a smaller checkpoint.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "codecllm/context.h"
#include "codecllm/error.h"

namespace codecllm {

struct QuantizeRequest {
  std::string model;                 // directory of the 16- or 32-bit original
  std::string output;                // directory to write; must not exist
  std::string scheme = "int8";       // a preset: int8, int8-tensor, int8-g128, int4-g128, bf16, f16, f32
  std::vector<std::string> only = {};     // globs or "re:..." of layer names; empty: all linear layers but lm_head
  std::vector<std::string> ignore = {};
  bool force = false;                // keep the output even when a check fails
};

struct QuantizedLayer {
  std::string name, scheme;
  double sqnr_db = 0, max_abs_error = 0;
};

struct QuantizeReport {
  std::uint64_t source_bytes = 0, weight_bytes = 0;
  double bits_per_weight = 0, seconds = 0;
  std::vector<QuantizedLayer> layers;
  std::vector<std::string> notes, bad;
};

// Reads back and checks everything it writes; throws Error(bad_input), and leaves no output, when a check fails.
CODECLLM_API QuantizeReport quantize(const Context& context, const QuantizeRequest& request, const Progress& progress = {});

}  // namespace codecllm
