// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/cpu.h"
#include "kernels/table.h"

namespace codecllm {

// The kernels of a tier; slots that it does not fill are those of the tier before it.
const KernelTable& kernels_for(Isa isa);

}  // namespace codecllm
