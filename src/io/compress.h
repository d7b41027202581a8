// SPDX-License-Identifier: Apache-2.0
// Any safetensors file, smaller, and back to the same bytes.
#pragma once

#include <string>

#include "base/context.h"
#include "codec/encode_tensor.h"

namespace codecllm {

struct CompressResult {
  uint64_t bytes_in = 0, bytes_out = 0;
  int64_t tensors = 0, coded = 0;
};

// BF16, F16 and F32 tensors become containers, where that makes them smaller; all else is kept. The result is a safetensors
// file, too (docs/codec.md). Memory stays at some megabytes; `out` appears whole or not at all.
CompressResult compress_file(const Context& context, const std::string& in, const std::string& out, const Progress& progress = {});

// decode: the tier's. Throws Error(bad_input) unless the result is what was compressed, byte for byte.
CompressResult decompress_file(const Context& context, const std::string& in, const std::string& out,
                               PanelDecoder decode, const Progress& progress = {});

}  // namespace codecllm
