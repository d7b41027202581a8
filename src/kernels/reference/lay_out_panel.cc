// SPDX-License-Identifier: Apache-2.0
#include "kernels/lay_out.h"
#include "kernels/table.h"

namespace codecllm::reference {

static void lay_out_panel(const MatrixView& w, int64_t panel, uint8_t* out) { lay_out_pieces(w, panel, 0, w.lines(), out); }

void fill_lay_out_panel(KernelTable& table) { table.lay_out_panel = lay_out_panel; }

}  // namespace codecllm::reference
