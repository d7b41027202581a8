// SPDX-License-Identifier: Apache-2.0
// What this CPU can do. Probed once; CODECLLM_ISA overrides the choice (never above what the CPU has).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace codecllm {

enum class Isa {
#define ISA_TIER(name) name,
#include "base/isa.def"
#undef ISA_TIER
};

inline constexpr int kIsaCount = 0
#define ISA_TIER(name) +1
#include "base/isa.def"
#undef ISA_TIER
    ;

std::string_view isa_name(Isa isa);

// The tiers this CPU and operating system can run, plainest first; the last one is the default.
const std::vector<Isa>& available_isas();

// "" takes CODECLLM_ISA from the environment, else the best tier. Throws Error(bad_call) for an unknown tier or one
// that this CPU lacks.
Isa choose_isa(std::string_view name);

// CPUs that this process may run on (its affinity mask), at least 1.
int available_cpus();

// The model name the operating system gives, "unknown CPU" where it gives none.
std::string cpu_model_name();

}  // namespace codecllm
