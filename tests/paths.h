// SPDX-License-Identifier: Apache-2.0
// Where this build's files lie: the only thing in the tests that depends on where the tree was cloned.
#pragma once

#include <string>

namespace codecllm::test {

std::string source_path(const std::string& relative);  // below the root of the tree
std::string binary_path(const std::string& relative);  // below the build directory

}  // namespace codecllm::test
