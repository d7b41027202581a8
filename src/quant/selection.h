// SPDX-License-Identifier: Apache-2.0
// Which linear layers are quantized.
#pragma once

#include <string>
#include <vector>

#include "model/spec.h"

namespace codecllm {

struct Selection {
  std::vector<std::string> only;    // empty: every linear layer but lm_head
  std::vector<std::string> ignore;  // wins over only
};

// A pattern is a glob over the whole module name (* any run, ? one character), or "re:" and a regular expression that
// matches at its start.
bool matches_pattern(const std::string& pattern, const std::string& name);

// In model order. Throws Error(bad_call) for a pattern that matches no layer at all, since that is a slip of the pen.
std::vector<LinearSpec> select_linears(const ModelSpec& spec, const Selection& selection);

}  // namespace codecllm
