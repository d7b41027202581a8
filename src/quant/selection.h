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

// In model order. A pattern may also be one of the words attention, mlp, first-block and last-block. Throws Error(bad_call)
// for a pattern that matches no layer at all, since that is a slip of the pen; the names say where it stands.
std::vector<LinearSpec> select_linears(const ModelSpec& spec, const Selection& selection, const std::string& only_name = "--only",
                                       const std::string& ignore_name = "--ignore");

}  // namespace codecllm
