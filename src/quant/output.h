// SPDX-License-Identifier: Apache-2.0
// The output directory while it is being made: OUT.partial, with every file at its full size from the start and a
// journal of the tensors that are done. It becomes OUT by one rename; after an interruption it is taken up again.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "base/file.h"
#include "io/safetensors_writer.h"

namespace codecllm {

class PartialOutput {
 public:
  // `fingerprint` says what is being made from what; a partial directory with another fingerprint is started over.
  // Throws Error(bad_call) when `directory` exists already, Error(io) when the disk is too full for all files.
  PartialOutput(std::string directory, const ShardPlan& shards, const std::string& fingerprint);
  PartialOutput(const PartialOutput&) = delete;
  PartialOutput& operator=(const PartialOutput&) = delete;

  bool resumed() const { return !done_.empty(); }
  bool is_done(const std::string& tensor) const { return done_.contains(tensor); }

  // Writes part of a tensor, `offset` bytes from its start.
  void write(std::string_view tensor, uint64_t offset, std::span<const std::byte> data);
  // Everything written for this source tensor reaches the disk, then the journal says so.
  void mark_done(const std::string& tensor);

  void write_file(const std::string& base_name, std::string_view text);
  void copy_file(const std::string& from, const std::string& base_name);

  const std::string& partial_directory() const { return partial_; }
  void commit();   // journal removed, OUT.partial renamed to OUT
  void discard();  // OUT.partial removed

 private:
  void start_over(const ShardPlan& shards, const std::string& fingerprint);
  void log_line(const std::string& text);
  bool take_up(const ShardPlan& shards, const std::string& fingerprint);

  // The directory, held against other processes.
  class Lock {
   public:
    explicit Lock(const std::string& directory);
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    void sync() const;

   private:
    int fd_;
  };

  struct File {
    OutputFile file;
    const SafetensorsLayout* layout;
  };

  std::string directory_, partial_, journal_path_;
  std::optional<Lock> lock_;
  std::vector<File> files_;
  OutputFile journal_;
  uint64_t journal_bytes_ = 0;
  std::set<std::string> done_;
};

// Throws Error(bad_call) when a file or directory of this name exists.
void refuse_existing(const std::string& directory);

}  // namespace codecllm
