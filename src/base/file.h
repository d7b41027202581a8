// SPDX-License-Identifier: Apache-2.0
// Files: read-only mappings, whole reads, and outputs that appear whole or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace codecllm {

// A read-only mapping. An empty file maps to an empty span. The whole file is checked to exist at its size when
// opened; what is truncated by somebody else later raises SIGBUS, as for every user of mmap.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept { swap(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    swap(other);
    return *this;
  }

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Tells the system that a part's pages may leave memory (whole pages inside only).
  void release(std::span<const std::byte> part) const;

 private:
  void swap(MappedFile& other);

  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

bool file_exists(const std::string& path);

std::string without_trailing_slashes(std::string path);

// With all above it that are not there. Throws Error(io).
void make_directories(const std::string& path);
// Those that a file of this name needs.
void make_parent_directory(const std::string& path);

// Throws Error(bad_call) where a file or directory of this name exists already: outputs never replace anything.
void refuse_existing(const std::string& path);

// Throws Error(io) when the file cannot be read or is larger than `limit` bytes.
std::string read_file(const std::string& path, size_t limit = size_t{1} << 30);

// An open file to be written, and read again. Every failure (disk full) throws Error(io) that names `shown`, or else the path.
class OutputFile {
 public:
  // create: empty, made if need be; create_new: it must not be there; modify: it must be.
  enum class Mode { create, create_new, modify };

  OutputFile() = default;
  OutputFile(const std::string& path, Mode mode, std::string shown = {});
  ~OutputFile();
  OutputFile(OutputFile&& other) noexcept { swap(other); }
  OutputFile& operator=(OutputFile&& other) noexcept {
    swap(other);
    return *this;
  }

  void write_at(uint64_t offset, const void* data, size_t bytes);
  void read_at(uint64_t offset, void* data, size_t bytes) const;
  void reserve(uint64_t bytes);   // claims the space on disk, so that no later write finds the disk full
  void truncate(uint64_t bytes);
  void sync();                    // what was written reaches the disk
  void close();                   // no more than the destructor does, but a failure is told

 private:
  void swap(OutputFile& other);
  [[noreturn]] void fail(int error) const;

  std::string shown_;
  int fd_ = -1;
};

// A directory of output, held against other processes for as long as this lives. Throws Error(bad_call) where another
// one holds it, Error(io) where the system cannot.
class DirectoryLock {
 public:
  explicit DirectoryLock(std::string directory);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;
  void sync() const;  // the names in it reach the disk, where the file system can be asked for that

 private:
  const std::string directory_;
  int fd_;
};

// Writes path + ".partial", and renames it to `path` on commit (after fsync). Destroyed without commit, it removes
// what it wrote. Messages name `path`. Throws Error(bad_call) where somebody else's file has the partial's name; in a
// directory of our own, mode `create` replaces what a killed process left there.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path, OutputFile::Mode mode = OutputFile::Mode::create_new);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, size_t bytes);  // behind what was written before
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

  // For what is not written from front to back, or is read again before the commit.
  OutputFile& file() { return file_; }
  const std::string& partial() const { return partial_; }

 private:
  std::string path_, partial_;
  OutputFile file_;
  uint64_t size_ = 0;
  bool committed_ = false;
};

// In a directory of our own.
void write_file_atomically(const std::string& path, std::string_view text);

}  // namespace codecllm
