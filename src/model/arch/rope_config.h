// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model/spec.h"

namespace codecllm {

// Reads rope_theta and rope_scaling (Hugging Face up to version 4), or rope_parameters (from version 5), which holds
// both; a reader that misses the new place would silently use base 10000.
RopeSpec read_rope(const Json& config, int64_t rotary, int64_t max_positions, const std::string& file);

}  // namespace codecllm
