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
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "codecllm/error.h"

namespace codecllm {

namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kSegment = size_t{64} << 20;
constexpr size_t kAlign = 64;
// Smaller buffers come from the heap, where they do not round up to pages. Sanitizers see the ends of more on the heap, and of the others
// where the pages behind them are no one's.
#ifdef CODECLLM_SANITIZED
constexpr size_t kLeastMapped = kHugePage, kMostShared = 0;
#else
constexpr size_t kLeastMapped = size_t{64} << 10, kMostShared = kSegment;
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
    if (size <= kMostShared)
      for (Segment& s : segments_)
        if (char* at = s.place(size)) return at;
    // Under a limit on addresses a whole segment may be more than is left.
    if (!add_segment(size <= kMostShared ? kSegment : size) && !add_segment(size)) return nullptr;
    return segments_.back().place(size);
  }

  // What take(size) gave. Whole huge pages go back to the system at once, parts of them when memory is short.
  void give_back(void* data, size_t size) {
    char* at = static_cast<char*>(data);
    const std::lock_guard lock(mutex_);
    const auto s = std::find_if(segments_.begin(), segments_.end(), [&](const Segment& x) { return at >= x.begin && at < x.begin + x.size; });
    s->taken.erase(at);
    if (s->taken.empty()) {
      munmap(s->begin, s->size);
      segments_.erase(s);
    } else if (madvise(at, size, MADV_DONTNEED) != 0) {
      std::memset(at, 0, size);  // pages that are locked, which the next buffer here expects to be zero
    }
  }

 private:
  struct Segment {
    char* begin;
    size_t size;
    std::map<char*, size_t> taken;

    // The first gap that is large enough; null where there is none.
    char* place(size_t bytes) {
      char* gap = begin;
      for (const auto& [at, length] : taken) {
        if (static_cast<size_t>(at - gap) >= bytes) break;
        gap = at + length;
      }
      if (static_cast<size_t>(begin + size - gap) < bytes) return nullptr;
      taken[gap] = bytes;
      return gap;
    }
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
    segments_.push_back({begin, size, {}});
    return true;
  }

  std::mutex mutex_;
  std::vector<Segment> segments_;
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
