// SPDX-License-Identifier: Apache-2.0
#include "kernels/table.h"

namespace codecllm::reference {

// The slow twin is decode_panel, then matmul_float.
void fill_matmul_coded_float(KernelTable& table) {
  table.matmul_coded_float = [](const MatrixView&, const float*, float*, int64_t, int64_t) { return false; };
}

}  // namespace codecllm::reference
