// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "io/quant_config.h"

namespace codecllm {

// What the user of a program that reads a checkpoint with this quant_method must know: who will refuse its groups (none: it is
// entropy-coded), and what has to be asked for. Whole sentences, none twice.
std::vector<std::string> readers_of(const std::string& method, const std::vector<QuantGroup>& groups);

}  // namespace codecllm
