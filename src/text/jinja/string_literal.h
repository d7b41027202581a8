// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace codecllm::jinja {

// Python's escapes in what stands between the quotes; unknown ones stay as they are.
std::string unescape(std::string_view text);

}  // namespace codecllm::jinja
