// SPDX-License-Identifier: Apache-2.0
// The weight files of an output while they are written. Where all sizes are known before, every file has its full size
// from the start; where they are not (entropy-coded weights), files grow tensor by tensor.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/checksums.h"
#include "io/safetensors_writer.h"

namespace codecllm {

// A tensor that was written, the number of its file, and the checksum of its bytes.
struct WrittenTensor {
  TensorDecl decl;
  size_t shard = 0;
  uint64_t checksum = 0;
};

class WeightFiles {
 public:
  virtual ~WeightFiles() = default;
  // Throws Error(io) where the disk is too full, as far as that is known before.
  virtual void create(const std::string& directory) = 0;
  // As an interrupted call left them; `written`: the tensors it finished, in order. False where they are not usable.
  virtual bool take_up(const std::string& directory, const std::vector<WrittenTensor>& written) = 0;
  // A tensor is at hand that takes about `bytes`, scales and all.
  virtual void begin(uint64_t) {}
  // Part of a tensor, `offset` bytes from its start.
  virtual void write(std::string_view tensor, uint64_t offset, std::span<const std::byte> data) = 0;
  // All of it was written, and this is what it is.
  virtual WrittenTensor added(const TensorDecl& decl) = 0;
  virtual void sync() = 0;
  // What was added so far can be read from the directory; algorithms do while the rest is being made.
  virtual void make_readable() {}
  // Everything is written: the files, and an index where they are several, can be read under their final names. Returns
  // these names and the files' headers.
  virtual std::vector<std::pair<std::string, std::string>> finish() = 0;
};

std::unique_ptr<WeightFiles> planned_files(ShardPlan plan);

// atmost: declarations at least as long as those of the tensors that will be added. A new file is begun where the next
// tensor would make one larger than shard_bytes.
std::unique_ptr<WeightFiles> growing_files(std::vector<TensorDecl> atmost, uint64_t shard_bytes);

}  // namespace codecllm
