// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "io/quant_config.h"

namespace codecllm {

// What the user of a program that reads compressed-tensors must know about modules that are stored so: who will refuse them
// (refused_by), and what has to be asked for. Whole sentences.
std::vector<std::string> readers_of(const QuantGroup& group);

}  // namespace codecllm
