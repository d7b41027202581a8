// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model/spec.h"

namespace codecllm::family {

// Each fills a ModelSpec from its family's config.json; `family` and `eos` are filled by read_spec.
#define FAMILY(architecture, function) ModelSpec function(const Json& config, const std::string& file);
#include "model/arch/family.def"
#undef FAMILY

}  // namespace codecllm::family
