// SPDX-License-Identifier: Apache-2.0
#include "kernels/table.h"

namespace codecllm::reference {

// The slow twin is decode_panel, then matmul_int.
void fill_matmul_coded_int(KernelTable& table) {
  table.matmul_coded_int = [](const MatrixView&, const IntActivations&, float*, int64_t, int64_t) { return false; };
}

}  // namespace codecllm::reference
