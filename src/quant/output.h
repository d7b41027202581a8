// SPDX-License-Identifier: Apache-2.0
// The output directory while it is being made: OUT.partial, with the weight files and a journal of the tensors that are
// done. It becomes OUT by one rename; after an interruption it is taken up again.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "base/file.h"
#include "quant/weight_files.h"

namespace codecllm {

inline constexpr const char* kJournalFile = ".codecllm-journal";  // a name that no file of a model has

// Throws Error(bad_call) where the directory is there already.
void refuse_existing_output(const std::string& output);

class PartialOutput {
 public:
  // `fingerprint` says what is being made from what, in one line; a partial directory with another fingerprint is started
  // over, and with an empty one always. Throws Error(bad_call) when `directory` exists already or its partial directory is
  // not one of ours, Error(io) when the disk is too full for all files.
  PartialOutput(std::string directory, std::unique_ptr<WeightFiles> files, const std::string& fingerprint);
  PartialOutput(const PartialOutput&) = delete;
  PartialOutput& operator=(const PartialOutput&) = delete;

  bool resumed() const { return !done_.empty(); }
  bool is_done(const std::string& tensor) const { return done_.contains(tensor); }

  // See WeightFiles.
  void begin(uint64_t bytes) { files_->begin(bytes); }
  void write(std::string_view tensor, uint64_t offset, std::span<const std::byte> data) { files_->write(tensor, offset, data); }
  void added(const TensorDecl& decl);
  // Everything written for this source tensor reaches the disk, then the journal says so.
  void mark_done(const std::string& tensor);
  // What is done so far can be read as a model with missing tensors.
  void make_readable() { files_->make_readable(); }
  // All tensors are done: from now on the partial directory can be read as a model.
  void finish_weights();

  void write_file(const std::string& base_name, std::string_view text);

  const std::string& partial_directory() const { return partial_; }
  void commit();   // journal removed, OUT.partial renamed to OUT
  void discard();  // OUT.partial removed

 private:
  void start_over(const std::string& fingerprint);
  void log_line(const std::string& text);
  bool take_up(const std::string& fingerprint);
  void read_line(const std::string& line);

  std::string directory_, partial_, journal_path_;
  std::optional<DirectoryLock> lock_;
  std::unique_ptr<WeightFiles> files_;
  OutputFile journal_;
  uint64_t journal_bytes_ = 0;
  std::set<std::string> done_;
  std::vector<WrittenTensor> written_;
  size_t logged_ = 0;  // of these
};

}  // namespace codecllm
