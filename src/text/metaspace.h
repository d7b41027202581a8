// SPDX-License-Identifier: Apache-2.0
// The settings that the Metaspace pre-tokenizer and decoder share.
#pragma once

#include "text/component.h"

namespace codecllm::text {

struct Metaspace {
  enum class Prepend { always, first, never };
  std::string replacement;
  Prepend prepend = Prepend::always;
};

Metaspace load_metaspace(const ComponentSource& source);

}  // namespace codecllm::text
