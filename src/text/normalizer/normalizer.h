// SPDX-License-Identifier: Apache-2.0
// The loaders that normalizers.def names.
#pragma once

#include "text/component.h"

namespace codecllm::text {

#define NORMALIZER(type, load) Normalizer load(const ComponentSource& source);
#include "text/normalizer/normalizers.def"
#undef NORMALIZER

}  // namespace codecllm::text
