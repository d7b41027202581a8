// SPDX-License-Identifier: Apache-2.0
// Checkpoints whose matrices are entropy-coded: every matrix of the model, the embedding and lm_head too.
#pragma once

#include "quant/quantize.h"

namespace codecllm {

// What stands beside the weights: tokenizer, generation settings, licence. Weights in other formats stay behind.
std::vector<std::string> other_files(const std::string& directory);

// Everything that quantize_checkpoint promises but for resuming: an interrupted call leaves nothing. One file, whatever
// its size; one matrix is in memory at a time.
QuantizeResult code_checkpoint(const Context& context, const Checkpoint& checkpoint, const ModelSpec& spec,
                               const std::string& output, const QuantizeOptions& options, const Progress& progress);

// Decodes one matrix: its checksum must agree; floating point must be the reference's bits, integers within what their
// scale gives.
LayerReport check_coded_layer(const Context& context, const Checkpoint& checkpoint, const std::string& module,
                              const Checkpoint* reference);

}  // namespace codecllm
