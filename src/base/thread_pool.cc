// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/cpu.h"

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

struct ThreadPool::State {
  using Body = FunctionRef<void(size_t, size_t, int)>;

  std::vector<std::thread> workers;
  std::mutex in_use;  // held by the thread whose range runs

  const Body* body = nullptr;
  size_t n = 0, grain = 1;
  std::atomic<size_t> next{0};
  alignas(64) std::atomic<uint32_t> epoch{0};    // raised to start a range
  alignas(64) std::atomic<uint32_t> running{0};  // workers that have not finished it
  std::atomic<bool> stop{false};

  std::mutex error_lock;
  std::exception_ptr error;

  void take_pieces(int worker) {
    for (;;) {
      const size_t begin = next.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= n) return;
      try {
        (*body)(begin, begin + grain < n ? begin + grain : n, worker);
      } catch (...) {
        std::lock_guard lock(error_lock);
        if (!error) error = std::current_exception();
      }
    }
  }

  void worker_loop(int worker) {
    uint32_t seen = 0;
    for (;;) {
      wait_while(epoch, seen);
      seen = epoch.load(std::memory_order_acquire);
      if (stop.load(std::memory_order_relaxed)) return;
      take_pieces(worker);
      if (running.fetch_sub(1, std::memory_order_acq_rel) == 1) running.notify_one();
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(new State) {
  if (threads <= 0) threads = available_cpus();
  for (int worker = 1; worker < threads; ++worker)
    state_->workers.emplace_back([state = state_.get(), worker] { state->worker_loop(worker); });
}

ThreadPool::ThreadPool(ThreadPool&&) noexcept = default;

ThreadPool::~ThreadPool() {
  if (!state_) return;
  state_->stop.store(true, std::memory_order_relaxed);
  state_->epoch.fetch_add(1, std::memory_order_release);
  state_->epoch.notify_all();
  for (auto& worker : state_->workers) worker.join();
}

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

  s.body = &body;
  s.n = n;
  s.grain = grain;
  s.error = nullptr;
  s.next.store(0, std::memory_order_relaxed);
  s.running.store(static_cast<uint32_t>(s.workers.size()), std::memory_order_relaxed);
  s.epoch.fetch_add(1, std::memory_order_release);
  s.epoch.notify_all();
  inside = true;
  s.take_pieces(0);
  inside = false;
  for (uint32_t left; (left = s.running.load(std::memory_order_acquire)) != 0;) wait_while(s.running, left);
  if (s.error) std::rethrow_exception(s.error);
}

}  // namespace codecllm
