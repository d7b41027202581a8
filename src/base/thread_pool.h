// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>

#include "base/function_ref.h"

namespace codecllm {

constexpr int kMaxThreads = 1024;

// Threads that wait for ranges of work. A decode step starts one to two hundred ranges, so a waiting thread spins for
// some microseconds before it sleeps; and its synchronization is plain std::atomic, which the thread sanitizer sees
// (pthreadpool's and OpenMP's, in uninstrumented libraries, it does not).
class ThreadPool {
 public:
  // 0: one per available CPU; the calling thread counts as one. Throws Error(bad_call) for more than kMaxThreads, and for
  // more than the system gives.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(ThreadPool&&) noexcept;

  int threads() const;

  // Calls body(begin, end, worker) over [0, n) in pieces of `grain` (the last may be shorter), each piece once, in any
  // order; worker is in [0, threads()). Results must not depend on which thread takes which piece. Returns when all
  // are done; the first exception of a body is thrown here. A call from inside a body, or while another thread uses
  // the pool, runs the whole range on the calling thread as worker 0.
  void parallel_for(size_t n, size_t grain, FunctionRef<void(size_t begin, size_t end, int worker)> body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace codecllm
