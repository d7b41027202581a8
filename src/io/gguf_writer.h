// SPDX-License-Identifier: Apache-2.0
// Writing GGUF version 3.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "format/ggml.h"

namespace codecllm {

struct GgufDecl {
  std::string name;
  GgmlType type = GgmlType::f32;
  std::vector<int64_t> shape;  // row-major
};

struct GgufPlaced {
  GgufDecl decl;
  uint64_t offset = 0;  // from the start of the file
  uint64_t bytes = 0;
};

// Where everything goes, known before any data is.
struct GgufLayout {
  std::string header;  // the first bytes of the file, padded to where the data begins
  std::vector<GgufPlaced> tensors;
  uint64_t file_bytes = 0;  // with the padding behind the last tensor
};

// `metadata` is an object: whole numbers become u32 (u64 where they do not fit, i32 where negative), others f32, and
// lists of them take the kind of their first element; tokenizer.ggml.token_type is i32 and scores f32. Throws
// Error(bad_call) for names of 64 bytes and more, and for rows that are not whole blocks.
GgufLayout gguf_layout(const OrderedJson& metadata, const std::vector<GgufDecl>& tensors);

}  // namespace codecllm
