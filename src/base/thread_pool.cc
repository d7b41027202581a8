// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "base/cpu.h"
#include "codecllm/error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace codecllm {

namespace {

void pause_briefly() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// Waits until the value differs from `old`: about 20 us of spinning, then the kernel's futex.
void wait_while(const std::atomic<uint32_t>& value, uint32_t old) {
  for (int spin = 0; spin < 1000; ++spin) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause_briefly();
  }
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

}  // namespace

// The caller waits for pieces, not for workers: one that the system has not woken by the time all pieces are taken is
// never waited for, so a busy machine does not stall a range. A piece is claimed by lowering `ticket`, which holds the
// range's number and how many of its pieces are left: a late worker finds none left, or another range.
struct ThreadPool::State {
  using Body = FunctionRef<void(size_t, size_t, int)>;

  std::vector<std::thread> workers;
  std::mutex in_use;  // held by the thread whose range runs

  // Written before `ticket` names the range, read after a claim on it; a claimed range cannot end before its piece does.
  std::atomic<const Body*> body{nullptr};
  std::atomic<size_t> n{0}, grain{1};
  std::atomic<uint32_t> pieces{0};

  alignas(64) std::atomic<uint64_t> ticket{0};  // range << 32 | pieces left to claim
  alignas(64) std::atomic<uint32_t> range{0};   // what sleeping workers watch
  alignas(64) std::atomic<uint32_t> done{0};    // finished pieces of the range
  std::atomic<bool> stop{false};

  std::mutex error_lock;
  std::exception_ptr error;

  void take_pieces(int worker, uint32_t of_range) {
    for (;;) {
      uint64_t t = ticket.load(std::memory_order_acquire);
      const auto left = static_cast<uint32_t>(t);
      if (t >> 32 != of_range || left == 0) return;
      if (!ticket.compare_exchange_weak(t, t - 1, std::memory_order_acq_rel)) continue;
      const size_t piece = pieces.load(std::memory_order_relaxed) - left;
      const size_t step = grain.load(std::memory_order_relaxed), begin = piece * step;
      try {
        (*body.load(std::memory_order_relaxed))(begin, std::min(begin + step, n.load(std::memory_order_relaxed)), worker);
      } catch (...) {
        const std::lock_guard lock(error_lock);
        if (!error) error = std::current_exception();
      }
      done.fetch_add(1, std::memory_order_acq_rel);
      done.notify_one();
    }
  }

  void worker_loop(int worker) {
    uint32_t seen = 0;
    for (;;) {
      wait_while(range, seen);
      seen = range.load(std::memory_order_acquire);
      if (stop.load(std::memory_order_relaxed)) return;
      take_pieces(worker, seen);
    }
  }

  ~State() {
    stop.store(true, std::memory_order_relaxed);
    range.fetch_add(1, std::memory_order_release);
    range.notify_all();
    for (auto& worker : workers) worker.join();
  }
};

ThreadPool::ThreadPool(int threads) : state_(new State) {
  if (threads == 0) threads = available_cpus();
  if (threads < 0 || threads > kMaxThreads)
    throw Error(ErrorCode::bad_call, "threads", std::to_string(threads) + " threads, expected 0 (one per available CPU) to " + std::to_string(kMaxThreads));
  try {
    for (int worker = 1; worker < threads; ++worker)
      state_->workers.emplace_back([state = state_.get(), worker] { state->worker_loop(worker); });
  } catch (const std::system_error&) {
    throw Error(ErrorCode::bad_call, "threads", "the system gives " + std::to_string(state_->workers.size() + 1) + " of " + std::to_string(threads) + " threads");
  }
}

ThreadPool::ThreadPool(ThreadPool&&) noexcept = default;

ThreadPool::~ThreadPool() = default;

int ThreadPool::threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::parallel_for(size_t n, size_t grain, FunctionRef<void(size_t, size_t, int)> body) {
  if (n == 0) return;
  State& s = *state_;
  if (grain == 0) grain = 1;
  // A body that asks again would deadlock on in_use, so "held by this very thread" must run inline too; try_lock on
  // a mutex that the thread holds is undefined, hence the thread-local mark.
  static thread_local bool inside = false;
  std::unique_lock lock(s.in_use, std::defer_lock);
  if (n <= grain || s.workers.empty() || inside || !lock.try_lock()) return body(0, n, 0);

  const auto pieces = static_cast<uint32_t>((n + grain - 1) / grain);
  const uint32_t range = s.range.load(std::memory_order_relaxed) + 1;
  s.body.store(&body, std::memory_order_relaxed);
  s.n.store(n, std::memory_order_relaxed);
  s.grain.store(grain, std::memory_order_relaxed);
  s.pieces.store(pieces, std::memory_order_relaxed);
  s.done.store(0, std::memory_order_relaxed);
  s.error = nullptr;
  s.ticket.store(uint64_t{range} << 32 | pieces, std::memory_order_release);
  s.range.store(range, std::memory_order_release);
  s.range.notify_all();
  inside = true;
  s.take_pieces(0, range);
  inside = false;
  for (uint32_t finished; (finished = s.done.load(std::memory_order_acquire)) != pieces;) wait_while(s.done, finished);
  if (s.error) std::rethrow_exception(s.error);
}

}  // namespace codecllm
