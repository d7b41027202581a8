// SPDX-License-Identifier: Apache-2.0
#include "base/memory.h"

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <string>
#include <vector>

#include "codecllm/error.h"

namespace codecllm {

namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kSegment = size_t{256} << 20;
constexpr size_t kAlign = 64;
// Smaller buffers come from the heap, where they do not round up to pages, and where sanitizers see their ends.
#ifdef CODECLLM_SANITIZED
constexpr size_t kLeastMapped = kHugePage;
#else
constexpr size_t kLeastMapped = size_t{64} << 10;
#endif

size_t whole_pages(size_t bytes) {
  static const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

// Buffers one behind the other, so that the end of one shares a huge page with the beginning of the next. On its own a matrix of
// 11 MB has a tenth of its bytes in small pages, or wastes as much; reading those costs 2 to 5% of a decode step.
class Arena {
 public:
  // Zeroed; null when the system refuses.
  void* take(size_t size) {
    const std::lock_guard lock(mutex_);
    if (segments_.empty() || segments_.back().size - segments_.back().used < size) {
      if (!add_segment(std::max(size, kSegment)) && !add_segment(size)) return nullptr;
    }
    Segment& s = segments_.back();
    s.used += size;
    s.live += size;
    return s.begin + s.used - size;
  }

  // What take(size) gave. The memory goes back to the system at once, the addresses with the last buffer of the segment.
  void give_back(void* at, size_t size) {
    const std::lock_guard lock(mutex_);
    const auto s = std::find_if(segments_.begin(), segments_.end(), [&](const Segment& x) { return at >= x.begin && at < x.begin + x.size; });
    s->live -= size;
    if (s->live == 0) {
      munmap(s->begin, s->size);
      segments_.erase(s);
    } else {
      madvise(at, size, MADV_DONTNEED);
    }
  }

 private:
  struct Segment {
    char* begin;
    size_t size, used, live;
  };

  bool add_segment(size_t size) {
    // Over-map by one huge page, then give back what lies outside the aligned range.
    void* raw = mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED) return false;
    const size_t head = (kHugePage - reinterpret_cast<size_t>(raw) % kHugePage) % kHugePage;
    char* begin = static_cast<char*>(raw) + head;
    if (head != 0) munmap(raw, head);
    munmap(begin + size, kHugePage - head);
    madvise(begin, size / kHugePage * kHugePage, MADV_HUGEPAGE);
    segments_.push_back({begin, size, 0, 0});
    return true;
  }

  std::mutex mutex_;
  std::vector<Segment> segments_;  // buffers are taken from the last
};

Arena& arena() {
  static Arena& arena = *new Arena();  // outlives every buffer
  return arena;
}

}  // namespace

Buffer::Buffer(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  if (bytes > SIZE_MAX / 2) {
    // A negative size that was cast; rounding it up to pages would wrap around.
  } else if (bytes >= kLeastMapped) {
    data_ = arena().take(whole_pages(bytes));
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
  if (bytes_ >= kLeastMapped) {
    arena().give_back(data_, whole_pages(bytes_));
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
