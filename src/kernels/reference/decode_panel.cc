// SPDX-License-Identifier: Apache-2.0
#include "codec/decoder.h"
#include "kernels/table.h"

namespace codecllm::reference {

void fill_decode_panel(KernelTable& table) { table.decode_panel = decode_panel_portable; }

}  // namespace codecllm::reference
