// SPDX-License-Identifier: Apache-2.0
#include "text/decoder/decoder.h"

namespace codecllm::text {

static constexpr ComponentRow<Decoder> decoder_rows[] = {
#define DECODER(type, load) {type, load},
#include "text/decoder/decoders.def"
#undef DECODER
};

Decoder load_decoder(const ComponentSource& source) { return load_component<Decoder>(decoder_rows, source); }

}  // namespace codecllm::text
