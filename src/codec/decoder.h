// SPDX-License-Identifier: Apache-2.0
// Decoding with plain loops: what the vector forms of src/kernels are tested against.
#pragma once

#include "codec/coded_view.h"

namespace codecllm {

// One panel; out [blocks, 64] elements in lane_offset's order. Any bytes decode to something: nothing outside the view is
// read, or outside the panel written.
void decode_panel_portable(const CodedView& view, int64_t panel, uint8_t* out);

}  // namespace codecllm
