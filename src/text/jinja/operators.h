// SPDX-License-Identifier: Apache-2.0
// Python's operators on values.
#pragma once

#include "text/jinja/runtime.h"

namespace codecllm::jinja {

Value binary_operator(Runtime& runtime, const std::string& sign, const Value& a, const Value& b);
Value negate(Runtime& runtime, const Value& value);

// object[start:stop:step]; undefined and none are absent bounds.
Value slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop, const Value& step);

}  // namespace codecllm::jinja
