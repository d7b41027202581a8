// SPDX-License-Identifier: Apache-2.0
// Checksums of what we write, so that `verify` notices damage to any tensor: codecllm_checksums.json beside safetensors
// files, metadata of a GGUF file. Other programs pass them over.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "io/checkpoint.h"

namespace codecllm {

inline constexpr const char* kChecksumFile = "codecllm_checksums.json";

// Of a tensor's stored bytes: checksum() over the checksums of its pieces of 1 MiB.
class StoredChecksum {
 public:
  static constexpr size_t kPiece = size_t{1} << 20;
  void add(const void* piece, size_t bytes);  // kPiece bytes each but for the last
  void add(uint64_t sum);                     // a piece's, from 0
  uint64_t value() const { return state_; }

 private:
  uint64_t state_ = 0;
};
uint64_t stored_checksum(std::span<const std::byte> data);

std::string hex_checksum(uint64_t sum);

struct FileChecksums {
  uint64_t header = 0;  // of the bytes before the first tensor
  std::map<std::string, uint64_t> tensors;
};
// By base name.
std::string checksums_text(const std::map<std::string, FileChecksums>& files);

// What was stored with a model, tensor by tensor.
class ExpectedChecksums {
 public:
  using Complain = std::function<void(const std::string& name, const std::string& what)>;
  // Throws Error(bad_input) for a damaged file of checksums. complain: a file's header is not what was written, or a file
  // or a tensor's checksum is not there.
  ExpectedChecksums(const Checkpoint& checkpoint, const Complain& complain);

  int64_t checked() const { return checked_; }  // tensors so far
  // Whether this tensor's bytes are those that were written; true where nothing is known about it.
  bool intact(ThreadPool& pool, const TensorInfo& tensor);
  // The names of damaged tensors among those that intact() was not asked about, since they were translated.
  std::vector<std::string> others(ThreadPool& pool);

 private:
  struct Expected {
    std::string name;
    std::span<const std::byte> data;
    uint64_t sum;
    const MappedFile* file;
  };

  // Reads a tensor once, and lets its pages leave memory behind it.
  static bool holds(ThreadPool& pool, const Expected& expected);

  void read_directory(const Checkpoint& checkpoint, const Complain& complain);
  void read_gguf(const GgufFile& file, const Complain& complain);
  void expect(const std::string& name, std::span<const std::byte> data, uint64_t sum, const MappedFile& file) {
    if (!data.empty()) left_[{data.data(), data.size()}] = {name, data, sum, &file};
  }

  std::map<std::pair<const std::byte*, size_t>, Expected> left_;
  int64_t checked_ = 0;
};

// Metadata of a GGUF file: of each tensor with the padding behind it, in file order; and of all before the first tensor,
// taken with zeros in its own place. All are texts of one length, so that they can be filled in when they are known.
inline constexpr const char* kGgufChecksums = "codecllm.checksums";
inline constexpr const char* kGgufHeaderChecksum = "codecllm.header_checksum";

}  // namespace codecllm
