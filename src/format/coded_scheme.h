// SPDX-License-Identifier: Apache-2.0
// Schemes whose weights are entropy-coded, told by their names.
#pragma once

#include <optional>
#include <string>

namespace codecllm {

struct CodedScheme {
  bool lossless = false;  // the weights as they are; else integers with one scale per row
  double rate = 0;        // bits per weight that choose the step; 0: the codes of `int8` or `fp8-channel`
  bool float8 = false;    // of those the latter
};

// For `lossless`, `int8-coded`, `fp8-coded` and `coded-B`; nothing for other names. Throws Error(bad_call) for a rate that the code does
// not reach.
std::optional<CodedScheme> coded_scheme(const std::string& name);

}  // namespace codecllm
