// SPDX-License-Identifier: Apache-2.0
// Memory for weights, KV cache and scratch.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

namespace codecllm {

// Zeroed anonymous memory, 64-byte aligned, in huge pages where the system gives them (2 MiB pages read up to 25%
// faster than 4 KiB pages or a mapped file). Pages count towards the process only once touched.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes);  // throws Error(io) when the system refuses
  Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Buffer();

  size_t bytes() const { return bytes_; }
  void* data() { return data_; }
  const void* data() const { return data_; }

  template <class T>
  std::span<T> as() {
    return {static_cast<T*>(data_), bytes_ / sizeof(T)};
  }
  template <class T>
  std::span<const T> as() const {
    return {static_cast<const T*>(data_), bytes_ / sizeof(T)};
  }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// High-water mark of this process's resident memory; 0 where the system does not tell.
size_t peak_rss_bytes();

// Gives freed memory back and begins the mark anew, where the system can.
void restart_peak_rss();

}  // namespace codecllm
