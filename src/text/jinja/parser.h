// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "text/jinja/ast.h"

namespace codecllm::jinja {

// A block of the template's statements. Throws Error(bad_input) with the line, Error(unsupported) for tags
// that chat templates do not use (include, extends, ...).
NodePtr parse(std::string_view source);

}  // namespace codecllm::jinja
