// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "codecllm/model.h"
#include "model/weights.h"
#include "text/tokenizer.h"

namespace codecllm {

struct Model::Impl {
  DecoderModel model;
  Tokenizer tokenizer;
};

}  // namespace codecllm
