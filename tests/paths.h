// SPDX-License-Identifier: Apache-2.0
// Where this build's files lie: the only thing in the tests that depends on where the tree was cloned.
#pragma once

#include <string>

namespace codecllm::test {

// Sanitizers look for what a few rounds show as well as many.
#ifdef CODECLLM_SANITIZED
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

std::string source_path(const std::string& relative);  // below the root of the tree
std::string binary_path(const std::string& relative);  // below the build directory

}  // namespace codecllm::test
