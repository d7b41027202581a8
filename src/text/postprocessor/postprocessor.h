// SPDX-License-Identifier: Apache-2.0
// The loaders that postprocessors.def names.
#pragma once

#include "text/component.h"

namespace codecllm::text {

PostProcessor sequence_postprocessor(const ComponentSource& source);
PostProcessor template_postprocessor(const ComponentSource& source);
PostProcessor byte_level_postprocessor(const ComponentSource& source);
PostProcessor bert_postprocessor(const ComponentSource& source);

}  // namespace codecllm::text
