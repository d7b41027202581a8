// SPDX-License-Identifier: Apache-2.0
// What stands beside the weights and goes with them: tokenizer, generation settings, licence.
#pragma once

#include <functional>
#include <string>

#include "io/checkpoint.h"

namespace codecllm {

// put(name, text) for each file of a directory, or for what a GGUF file holds of them. Left behind are config.json and
// what tells about the source's own weights (indexes, other formats, how they were quantized), and files over 64 MB.
void for_companions(const Checkpoint& checkpoint, const std::function<void(const std::string& name, const std::string& text)>& put);

// Throws Error(bad_input) where one of them that is read with the model, such as tokenizer.json, is not JSON: the output
// would be of no use.
void check_companions(const Checkpoint& checkpoint);

// config.json of the source with its keys in their order; made from the metadata of a GGUF file.
OrderedJson config_of_output(const Checkpoint& checkpoint);

}  // namespace codecllm
