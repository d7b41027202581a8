// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

namespace codecllm {
namespace {

TEST(ThreadPool, TakesEveryPieceOnce) {
  ThreadPool pool(4);
  for (size_t n : {0u, 1u, 7u, 64u, 1000u}) {
    std::vector<int> count(n, 0);
    pool.parallel_for(n, 3, [&](size_t begin, size_t end, int worker) {
      EXPECT_GE(worker, 0);
      EXPECT_LT(worker, 4);
      for (size_t i = begin; i < end; ++i) ++count[i];
    });
    for (int c : count) EXPECT_EQ(c, 1);
  }
}

TEST(ThreadPool, ThrowsTheBodysException) {
  ThreadPool pool(3);
  EXPECT_THROW(pool.parallel_for(100, 1, [](size_t begin, size_t, int) { if (begin == 57) throw std::runtime_error("x"); }),
               std::runtime_error);
  std::atomic<int> sum{0};
  pool.parallel_for(100, 1, [&](size_t, size_t, int) { ++sum; });
  EXPECT_EQ(sum, 100);
}

TEST(ThreadPool, NotMoreThanMayBe) { EXPECT_THROW(ThreadPool(kMaxThreads + 1), Error); }

TEST(ThreadPool, ManyCallersShareIt) {
  ThreadPool pool(2);
  std::vector<std::thread> callers;
  std::atomic<size_t> sum{0};
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([&] {
      for (int round = 0; round < 200; ++round)
        pool.parallel_for(10, 1, [&](size_t begin, size_t end, int) { sum += end - begin; });
    });
  for (auto& t : callers) t.join();
  EXPECT_EQ(sum, 4u * 200 * 10);
}

// Ranges of very different sizes right after each other: a worker that is late for one must not take a piece of it, nor
// a piece too many of the next.
TEST(ThreadPool, RangesInQuickSuccessionStayApart) {
  ThreadPool pool(4);
  std::vector<std::atomic<int>> count(300);
  for (int round = 0; round < 20000; ++round) {
    const size_t n = round % 3 == 0 ? 300 : 2 + round % 5;
    for (size_t i = 0; i < n; ++i) count[i].store(0, std::memory_order_relaxed);
    pool.parallel_for(n, 1, [&](size_t begin, size_t end, int) {
      ASSERT_LE(end, n);
      for (size_t i = begin; i < end; ++i) count[i].fetch_add(1, std::memory_order_relaxed);
    });
    for (size_t i = 0; i < n; ++i) ASSERT_EQ(count[i].load(std::memory_order_relaxed), 1) << round;
  }
}

}  // namespace
}  // namespace codecllm
