// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "codecllm/error.h"

namespace codecllm {

namespace {

[[noreturn]] void throw_errno(const char* op, const std::string& path) {
  throw Error(ErrorCode::io, op, std::strerror(errno), {.file = path});
}

// Opens for reading; directories and other things that are no regular files are refused by name.
int open_regular(const std::string& path, size_t* size) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe without a writer would block
  if (fd < 0) throw_errno("open", path);
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    throw Error(ErrorCode::io, "open", "not a regular file", {.file = path});
  }
  *size = static_cast<size_t>(info.st_size);
  return fd;
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  const int fd = open_regular(path, &size_);
  if (size_ > 0) {
    void* data = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
      ::close(fd);
      throw_errno("map", path);
    }
    data_ = static_cast<const std::byte*>(data);
  }
  ::close(fd);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::swap(MappedFile& other) {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
}

void MappedFile::release(std::span<const std::byte> part) const {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t begin = (reinterpret_cast<size_t>(part.data()) + page - 1) / page * page;
  const size_t end = reinterpret_cast<size_t>(part.data() + part.size()) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

bool file_exists(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

std::string without_trailing_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

void make_directories(const std::string& path) {
  std::error_code code;
  std::filesystem::create_directories(path, code);
  if (code) throw Error(ErrorCode::io, "write", code.message(), {.file = path});
}

void make_parent_directory(const std::string& path) {
  if (const std::string parent = std::filesystem::path(path).parent_path(); !parent.empty()) make_directories(parent);
}

void refuse_existing(const std::string& path) {
  if (path.empty()) throw Error(ErrorCode::bad_call, "write", "the output's name is empty");
  struct stat info;
  if (::lstat(path.c_str(), &info) == 0)
    throw Error(ErrorCode::bad_call, "write", "the output exists already; remove it or choose another name", {.file = path});
}

std::string read_file(const std::string& path, size_t limit) {
  size_t size = 0;
  const int fd = open_regular(path, &size);
  if (size > limit) {
    ::close(fd);
    throw Error(ErrorCode::io, "read", std::to_string(size) + " bytes, at most " + std::to_string(limit) + " expected",
                {.file = path});
  }
  std::string text(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(fd, text.data() + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      ::close(fd);
      throw_errno("read", path);
    }
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  ::close(fd);
  text.resize(done);
  return text;
}

OutputFile::OutputFile(const std::string& path, Mode mode, std::string shown)
    : shown_(shown.empty() ? path : std::move(shown)) {
  const int flags = mode == Mode::create ? O_CREAT | O_TRUNC : mode == Mode::create_new ? O_CREAT | O_EXCL : 0;
  fd_ = ::open(path.c_str(), O_RDWR | O_CLOEXEC | flags, 0644);
  if (fd_ < 0 && errno == EEXIST)
    throw Error(ErrorCode::bad_call, "write", "there already: of a process that is writing this output, of one that was killed, or somebody's own; remove it only if it is not the first, or choose another name", {.file = path});
  if (fd_ < 0) fail(errno);
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
}

void OutputFile::swap(OutputFile& other) {
  std::swap(shown_, other.shown_);
  std::swap(fd_, other.fd_);
}

void OutputFile::fail(int error) const {
  throw Error(ErrorCode::io, "write", std::strerror(error), {.file = shown_});
}

void OutputFile::write_at(uint64_t offset, const void* data, size_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t put = ::pwrite(fd_, at, bytes, static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail(errno);
    at += put;
    offset += static_cast<uint64_t>(put);
    bytes -= static_cast<size_t>(put);
  }
}

void OutputFile::read_at(uint64_t offset, void* data, size_t bytes) const {
  char* at = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = ::pread(fd_, at, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) fail(got < 0 ? errno : EIO);
    at += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<size_t>(got);
  }
}

void OutputFile::reserve(uint64_t bytes) {
  if (bytes == 0) return;
  if (const int error = ::posix_fallocate(fd_, 0, static_cast<off_t>(bytes))) fail(error);
}

void OutputFile::truncate(uint64_t bytes) {
  if (::ftruncate(fd_, static_cast<off_t>(bytes)) != 0) fail(errno);
}

void OutputFile::sync() {
  if (::fsync(fd_) != 0) fail(errno);
}

void OutputFile::close() {
  if (::close(std::exchange(fd_, -1)) != 0) fail(errno);
}

DirectoryLock::DirectoryLock(std::string directory)
    : directory_(std::move(directory)), fd_(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (fd_ >= 0 && ::flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
  const int error = errno;
  if (fd_ >= 0) ::close(fd_);
  if (error == EWOULDBLOCK) throw Error(ErrorCode::bad_call, "write", "another process is writing this output", {.file = directory_});
  throw Error(ErrorCode::io, "write", std::strerror(error), {.file = directory_});
}

DirectoryLock::~DirectoryLock() { ::close(fd_); }

void DirectoryLock::sync() const {
  if (::fsync(fd_) != 0 && errno != EINVAL && errno != EOPNOTSUPP) throw_errno("write", directory_);
}

AtomicFile::AtomicFile(std::string path, OutputFile::Mode mode)
    : path_(std::move(path)), partial_(path_ + ".partial"), file_(partial_, mode, path_) {}

AtomicFile::~AtomicFile() {
  if (!committed_) ::unlink(partial_.c_str());
}

void AtomicFile::write(const void* data, size_t bytes) {
  file_.write_at(size_, data, bytes);
  size_ += bytes;
}

void AtomicFile::commit() {
  file_.sync();
  file_.close();
  if (::rename(partial_.c_str(), path_.c_str()) != 0) throw_errno("write", path_);
  committed_ = true;
}

void write_file_atomically(const std::string& path, std::string_view text) {
  AtomicFile file(path, OutputFile::Mode::create);
  file.write(text);
  file.commit();
}

}  // namespace codecllm
