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

namespace {

[[noreturn]] void fail(const std::string& path) {
  throw Error(ErrorCode::io, "write", std::strerror(errno), {.file = path});
}

void write_all(int fd, uint64_t offset, const void* data, size_t bytes, const std::string& path) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t put = ::pwrite(fd, at, bytes, static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail(path);
    at += put;
    offset += static_cast<uint64_t>(put);
    bytes -= static_cast<size_t>(put);
  }
}

}  // namespace

void refuse_existing(const std::string& directory) {
  if (fs::exists(directory))
    throw Error(ErrorCode::bad_call, "quantize", "the output exists already; remove it or choose another name",
                {.file = directory});
}

PartialOutput::PartialOutput(std::string directory, const ShardPlan& shards, const std::string& fingerprint)
    : directory_(std::move(directory)) {
  while (directory_.size() > 1 && directory_.back() == '/') directory_.pop_back();
  refuse_existing(directory_);
  partial_ = directory_ + ".partial";
  journal_path_ = partial_ + "/journal";
  std::error_code code;
  fs::create_directories(partial_, code);
  if (code) throw Error(ErrorCode::io, "write", code.message(), {.file = partial_});
  lock_ = ::open(partial_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ < 0 || ::flock(lock_, LOCK_EX | LOCK_NB) != 0)
    throw Error(ErrorCode::bad_call, "quantize", "another process is writing this output", {.file = partial_});
  if (!take_up(shards, fingerprint)) start_over(shards, fingerprint);
}

PartialOutput::~PartialOutput() {
  for (const File& file : files_) ::close(file.fd);
  if (journal_ >= 0) ::close(journal_);
  if (lock_ >= 0) ::close(lock_);
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
  open_files(shards, false);
  journal_ = ::open(journal_path_.c_str(), O_WRONLY | O_CLOEXEC);
  if (journal_ < 0 || ::ftruncate(journal_, static_cast<off_t>(whole)) != 0 || ::lseek(journal_, 0, SEEK_END) < 0)
    fail(journal_path_);
  return true;
}

void PartialOutput::start_over(const ShardPlan& shards, const std::string& fingerprint) {
  for (const auto& entry : fs::directory_iterator(partial_)) fs::remove_all(entry.path());
  open_files(shards, true);
  journal_ = ::open(journal_path_.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  if (journal_ < 0) fail(journal_path_);
  const std::string line = fingerprint + "\n";
  write_all(journal_, 0, line.data(), line.size(), journal_path_);
  ::lseek(journal_, 0, SEEK_END);
}

void PartialOutput::open_files(const ShardPlan& shards, bool create) {
  for (const Shard& shard : shards.shards) {
    const std::string path = partial_ + "/" + shard.file;
    const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC | (create ? O_CREAT | O_TRUNC : 0), 0644);
    if (fd < 0) fail(path);
    files_.push_back({fd, &shard.layout});
    if (!create) continue;
    // All the space is claimed before hours of work begin.
    const int refused = ::posix_fallocate(fd, 0, static_cast<off_t>(shard.layout.file_bytes()));
    if (refused != 0) {
      discard();
      errno = refused;
      fail(path);
    }
    write_all(fd, 0, shard.layout.header().data(), shard.layout.header().size(), path);
  }
}

int PartialOutput::fd_of(std::string_view tensor, uint64_t* offset) const {
  for (const File& file : files_) {
    const PlacedTensor* placed = file.layout->find(tensor);
    if (placed == nullptr) continue;
    *offset = placed->offset;
    return file.fd;
  }
  throw Error(ErrorCode::bad_call, "write", "no such tensor in the layout", {.tensor = std::string(tensor)});
}

void PartialOutput::write(std::string_view tensor, uint64_t offset, std::span<const std::byte> data) {
  uint64_t start = 0;
  const int fd = fd_of(tensor, &start);
  write_all(fd, start + offset, data.data(), data.size(), partial_);
}

void PartialOutput::mark_done(const std::string& tensor) {
  for (const File& file : files_)
    if (::fdatasync(file.fd) != 0) fail(partial_);
  const std::string line = tensor + "\n";
  const ssize_t put = ::write(journal_, line.data(), line.size());
  if (put != static_cast<ssize_t>(line.size())) fail(journal_path_);
  done_.insert(tensor);
}

void PartialOutput::write_file(const std::string& base_name, std::string_view text) {
  write_file_atomically(partial_ + "/" + base_name, text);
}

void PartialOutput::copy_file(const std::string& from, const std::string& base_name) {
  write_file(base_name, read_file(from));
}

void PartialOutput::commit() {
  for (const File& file : files_)
    if (::fsync(file.fd) != 0) fail(partial_);
  ::unlink(journal_path_.c_str());
  if (::fsync(lock_) != 0 || ::rename(partial_.c_str(), directory_.c_str()) != 0) fail(directory_);
}

void PartialOutput::discard() {
  std::error_code ignored;
  fs::remove_all(partial_, ignored);
}

}  // namespace codecllm
