// SPDX-License-Identifier: Apache-2.0
// A whole tensor coded on all threads, a few megabytes at a time.
#pragma once

#include "base/function_ref.h"
#include "base/thread_pool.h"
#include "codec/container.h"

namespace codecllm {

// Writes panel `panel` to out [blocks * 64] elements, zeroed; called from several threads.
using PanelFill = FunctionRef<void(int64_t panel, uint8_t* out)>;
using PanelDecoder = void (*)(const CodedView&, int64_t panel, uint8_t* out);

struct TensorShape {
  CodeKind kind;
  uint64_t rows, columns;  // for the header
  int64_t panels, blocks;
  Prefer prefer;
};

// Looks at up to sixteen panels to choose the code, then codes all. out(offset, data, bytes) takes the container: first the
// panels, in order, then what stands before and after them. Returns the container's bytes.
uint64_t encode_tensor(ThreadPool& pool, const TensorShape& shape, PanelFill fill,
                       FunctionRef<void(uint64_t offset, const void* data, size_t bytes)> out);

// Whether the tensor decodes to what its checksum was taken of. take: every panel decoded, from several threads.
bool decodes_right(ThreadPool& pool, const CodedTensor& tensor, PanelDecoder decode,
                   FunctionRef<void(int64_t panel, std::span<const uint8_t> elements)> take);

// What is coded; padding counts.
struct CodedContents {
  double entropy_bits = 0;  // order 0, per element
  int64_t not_finite = 0;   // NaN and infinity
};
CodedContents coded_contents(ThreadPool& pool, const CodedTensor& tensor, PanelDecoder decode);

}  // namespace codecllm
