// SPDX-License-Identifier: Apache-2.0
// Memory for time: some of the entropy-coded matrices kept decoded, so that products read them and need not decode them.
// Decoded weights are multiplied by the same kernels, so results are the same bits.
#pragma once

#include "model/weights.h"

namespace codecllm {

struct DecodeCache {
  int64_t decoded = 0, coded = 0;  // matrices that products read: those kept decoded, and those that came coded
  size_t bytes = 0;                // of what is kept decoded
};

// Decodes matrices, those first that save the most time a byte, in load order where they save alike, as many as fit into
// `budget` bytes, and lets go of their codes. An embedding that is no head stays coded: a token reads one panel of it.
DecodeCache keep_decoded(const Context& context, DecoderModel& model, size_t budget);

}  // namespace codecllm
