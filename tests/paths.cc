// SPDX-License-Identifier: Apache-2.0
#include "paths.h"

namespace codecllm::test {

std::string source_path(const std::string& relative) { return CODECLLM_SOURCE_DIR "/" + relative; }

std::string binary_path(const std::string& relative) { return CODECLLM_BINARY_DIR "/" + relative; }

}  // namespace codecllm::test
