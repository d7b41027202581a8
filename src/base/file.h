// SPDX-License-Identifier: Apache-2.0
// Files: read-only mappings, whole reads, and outputs that appear whole or not at all.
#pragma once

#include <cstddef>
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

  // Tells the system that a part will be read in order, or that its pages may leave memory (whole pages inside only).
  void advise_sequential() const;
  void release(std::span<const std::byte> part) const;

 private:
  void swap(MappedFile& other);

  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

bool file_exists(const std::string& path);

// Throws Error(io) when the file cannot be read or is larger than `limit` bytes.
std::string read_file(const std::string& path, size_t limit = size_t{1} << 30);

// Writes path + ".partial", and renames it to `path` on commit (after fsync). Destroyed without commit, it removes
// what it wrote. Every failed write (disk full) throws Error(io).
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void write_at(size_t offset, const void* data, size_t bytes);
  void commit();

 private:
  [[noreturn]] void fail(const char* what) const;

  std::string path_, partial_;
  int fd_ = -1;
};

void write_file_atomically(const std::string& path, std::string_view text);

}  // namespace codecllm
