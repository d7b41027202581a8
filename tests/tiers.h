// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/cpu.h"
#include "kernels/dispatch.h"

namespace codecllm::test {

inline bool rounds_to_bf16(Isa isa) { return kernels_for(isa).put_pairs != nullptr; }

// The richest tier here that multiplies floats: for comparisons that are finer than BF16.
inline std::string float_isa() {
  Isa best = Isa::reference;
  for (Isa isa : available_isas())
    if (!rounds_to_bf16(isa)) best = isa;
  return std::string(isa_name(best));
}

}  // namespace codecllm::test
