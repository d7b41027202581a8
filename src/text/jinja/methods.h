// SPDX-License-Identifier: Apache-2.0
// The functions that methods.def names.
#pragma once

#include "text/jinja/runtime.h"

namespace codecllm::jinja {

#define METHOD(type, name, function) \
  Value function(Runtime& r, const Value& object, const Arguments& arguments);
#include "text/jinja/methods.def"
#undef METHOD

}  // namespace codecllm::jinja
