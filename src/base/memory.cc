// SPDX-License-Identifier: Apache-2.0
#include "base/memory.h"

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "codecllm/error.h"

namespace codecllm {

namespace {
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kAlign = 64;

// Small buffers come from the heap, where they do not round up to pages.
bool is_mapped(size_t bytes) { return bytes >= kHugePage; }
size_t mapped_bytes(size_t bytes) {
  static const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}
// What is left behind the last whole huge page stays in small ones: half a huge page for every matrix of a model would be
// a tenth of its memory.
size_t huge_bytes(size_t bytes) { return bytes / kHugePage * kHugePage; }
}  // namespace

Buffer::Buffer(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  if (bytes > SIZE_MAX / 2) {
    // A negative size that was cast; rounding it up to pages would wrap around.
  } else if (is_mapped(bytes)) {
    // Over-map by one huge page, then give back what lies outside the aligned range.
    const size_t size = mapped_bytes(bytes), huge = huge_bytes(bytes);
    char* raw = static_cast<char*>(
        mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (raw != MAP_FAILED) {
      const size_t head = (kHugePage - reinterpret_cast<size_t>(raw) % kHugePage) % kHugePage;
      if (head != 0) munmap(raw, head);
      munmap(raw + head + size, kHugePage - head);
      madvise(raw + head, huge, MADV_HUGEPAGE);
      data_ = raw + head;
    }
  } else {
    data_ = std::aligned_alloc(kAlign, (bytes + kAlign - 1) / kAlign * kAlign);
    if (data_ != nullptr) std::memset(data_, 0, bytes);
  }
  if (data_ == nullptr) {
    bytes_ = 0;
    throw Error(ErrorCode::io, "memory", "the system refused " + std::to_string(bytes) + " bytes");
  }
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  if (is_mapped(bytes_)) {
    munmap(data_, mapped_bytes(bytes_));
  } else {
    std::free(data_);
  }
}

size_t peak_rss_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0) return std::strtoull(line.c_str() + 6, nullptr, 10) * 1024;
  return 0;
}

void restart_peak_rss() {
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << 5;
}

}  // namespace codecllm
