// SPDX-License-Identifier: Apache-2.0
#include "quant/output.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/file.h"

namespace codecllm {

namespace fs = std::filesystem;

void refuse_existing(const std::string& directory) {
  if (directory.empty()) throw Error(ErrorCode::bad_call, "quantize", "the output's name is empty");
  if (fs::exists(directory))
    throw Error(ErrorCode::bad_call, "quantize", "the output exists already; remove it or choose another name",
                {.file = directory});
}

PartialOutput::Lock::Lock(const std::string& directory)
    : fd_(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (fd_ >= 0 && ::flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
  if (fd_ >= 0) ::close(fd_);
  throw Error(ErrorCode::bad_call, "quantize", "another process is writing this output", {.file = directory});
}

PartialOutput::Lock::~Lock() { ::close(fd_); }

void PartialOutput::Lock::sync() const { ::fsync(fd_); }

PartialOutput::PartialOutput(std::string directory, const ShardPlan& shards, const std::string& fingerprint)
    : directory_(std::move(directory)) {
  while (directory_.size() > 1 && directory_.back() == '/') directory_.pop_back();
  refuse_existing(directory_);
  partial_ = directory_ + ".partial";
  journal_path_ = partial_ + "/.codecllm-journal";  // a name that no file of a model has
  std::error_code code;
  fs::create_directories(partial_, code);
  if (code) throw Error(ErrorCode::io, "write", code.message(), {.file = partial_});
  lock_.emplace(partial_);
  if (!take_up(shards, fingerprint)) start_over(shards, fingerprint);
}

bool PartialOutput::take_up(const ShardPlan& shards, const std::string& fingerprint) {
  if (!file_exists(journal_path_)) return false;
  const std::string journal = read_file(journal_path_);
  // A line counts only with its end: the last one may have been cut off by the interruption.
  size_t at = journal.find('\n');
  if (at == std::string::npos || journal.substr(0, at) != fingerprint) return false;
  for (const Shard& shard : shards.shards) {
    const std::string path = partial_ + "/" + shard.file;
    if (!file_exists(path) || fs::file_size(path) != shard.layout.file_bytes()) return false;
  }
  size_t whole = at + 1;
  for (size_t end; (end = journal.find('\n', whole)) != std::string::npos; whole = end + 1)
    done_.insert(journal.substr(whole, end - whole));
  for (const Shard& shard : shards.shards)
    files_.push_back({OutputFile(partial_ + "/" + shard.file, OutputFile::Mode::modify), &shard.layout});
  journal_ = OutputFile(journal_path_, OutputFile::Mode::modify);
  journal_.truncate(whole);
  journal_bytes_ = whole;
  return true;
}

void PartialOutput::start_over(const ShardPlan& shards, const std::string& fingerprint) {
  if (!file_exists(journal_path_) && !fs::is_empty(partial_))
    throw Error(ErrorCode::bad_call, "quantize", "this directory is not one that quantize left; remove it or choose another name",
                {.file = partial_});
  journal_ = OutputFile(journal_path_, OutputFile::Mode::create);
  for (const auto& entry : fs::directory_iterator(partial_))
    if (entry.path() != journal_path_) fs::remove_all(entry.path());
  try {
    for (const Shard& shard : shards.shards) {
      files_.push_back({OutputFile(partial_ + "/" + shard.file, OutputFile::Mode::create), &shard.layout});
      files_.back().file.reserve(shard.layout.file_bytes());  // before hours of work begin
      files_.back().file.write_at(0, shard.layout.header().data(), shard.layout.header().size());
    }
  } catch (...) {
    discard();
    throw;
  }
  log_line(fingerprint);
}

void PartialOutput::log_line(const std::string& text) {
  const std::string line = text + "\n";
  journal_.write_at(journal_bytes_, line.data(), line.size());
  journal_bytes_ += line.size();
}

void PartialOutput::write(std::string_view tensor, uint64_t offset, std::span<const std::byte> data) {
  for (File& file : files_)
    if (const PlacedTensor* placed = file.layout->find(tensor))
      return file.file.write_at(placed->offset + offset, data.data(), data.size());
  throw Error(ErrorCode::bad_call, "write", "no such tensor in the layout", {.tensor = std::string(tensor)});
}

void PartialOutput::mark_done(const std::string& tensor) {
  for (File& file : files_) file.file.sync();
  log_line(tensor);
  done_.insert(tensor);
}

void PartialOutput::write_file(const std::string& base_name, std::string_view text) {
  write_file_atomically(partial_ + "/" + base_name, text);
}

void PartialOutput::copy_file(const std::string& from, const std::string& base_name) {
  write_file(base_name, read_file(from));
}

void PartialOutput::commit() {
  for (File& file : files_) file.file.sync();
  ::unlink(journal_path_.c_str());
  lock_->sync();
  if (::rename(partial_.c_str(), directory_.c_str()) != 0)
    throw Error(ErrorCode::io, "write", std::strerror(errno), {.file = directory_});
}

void PartialOutput::discard() {
  std::error_code ignored;
  fs::remove_all(partial_, ignored);
}

}  // namespace codecllm
