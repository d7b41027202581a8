// SPDX-License-Identifier: Apache-2.0
// The functions that filters.def names.
#pragma once

#include "text/jinja/runtime.h"

namespace codecllm::jinja {

#define FILTER(name, function) Value function(Runtime& r, const Value& object, const Arguments& arguments);
#include "text/jinja/filters.def"
#undef FILTER

// "a.b.0" below `object`.
Value attribute_path(Runtime& r, const Value& object, const Value& path);

}  // namespace codecllm::jinja
