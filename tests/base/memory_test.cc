// SPDX-License-Identifier: Apache-2.0
#include "base/memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "codecllm/error.h"
#include "paths.h"

namespace codecllm {
namespace {

constexpr size_t kMebi = size_t{1} << 20;

TEST(Buffer, IsAlignedZeroedAndWritable) {
  for (size_t bytes : {size_t{1}, size_t{63}, size_t{64}, size_t{65}, size_t{4097}, 2 * kMebi - 1, 2 * kMebi,
                       2 * kMebi + 1, 9 * kMebi + 5}) {
    for (int round = 0; round < 2; ++round) {  // the second may get the first one's pages
      Buffer buffer(bytes);
      ASSERT_EQ(buffer.bytes(), bytes);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 64, 0u) << bytes;
      const auto span = buffer.as<uint8_t>();
      ASSERT_EQ(span.size(), bytes);
      EXPECT_TRUE(std::all_of(span.begin(), span.end(), [](uint8_t b) { return b == 0; })) << bytes;
      std::fill(span.begin(), span.end(), uint8_t{0xFF});
    }
  }
}

TEST(Buffer, LargeOnesCostOnlyWhatIsTouched) {
#if !defined(__x86_64__)
  GTEST_SKIP() << "under an emulator the resident memory is the emulator's";
#endif
  const size_t before = peak_rss_bytes();
  Buffer buffer(size_t{64} << 30);
  buffer.as<uint8_t>()[size_t{63} << 30] = 1;
  buffer.as<uint8_t>().back() = 1;
  EXPECT_EQ(buffer.as<uint8_t>()[5], 0);
  EXPECT_LE(peak_rss_bytes(), before + 64 * kMebi);  // both 0 where the system does not tell
}

TEST(Buffer, AnOddEndWastesNoHugePage) {
#if !defined(__x86_64__)
  GTEST_SKIP() << "under an emulator the resident memory is the emulator's";
#endif
  if (test::kSanitized) GTEST_SKIP() << "the resident memory is the sanitizer's, too";
  restart_peak_rss();
  const size_t before = peak_rss_bytes();
  std::vector<Buffer> buffers;
  for (int i = 0; i < 64; ++i) {
    buffers.emplace_back(2 * kMebi + kMebi / 8);
    const auto bytes = buffers.back().as<uint8_t>();
    std::fill(bytes.begin(), bytes.end(), uint8_t{1});
  }
  EXPECT_LE(peak_rss_bytes(), before + 64 * (2 * kMebi + kMebi / 4) + 16 * kMebi);
}

// Bytes of a line of a file in /proc/self, such as VmRSS in status; 0 where there is none.
size_t proc_bytes(const char* file, const std::string& key) {
  std::ifstream in(std::string("/proc/self/") + file);
  for (std::string line; std::getline(in, line);)
    if (line.rfind(key + ":", 0) == 0) return std::strtoull(line.c_str() + key.size() + 1, nullptr, 10) << 10;
  return 0;
}

void fill(Buffer& buffer, uint8_t value) {
  const auto bytes = buffer.as<uint8_t>();
  std::fill(bytes.begin(), bytes.end(), value);
}

TEST(Buffer, SmallOnesShareHugePages) {
#if !defined(__x86_64__)
  GTEST_SKIP() << "under an emulator the huge pages are the emulator's";
#endif
  if (test::kSanitized) GTEST_SKIP() << "each is the sanitizer's";
  Buffer large(8 * kMebi);
  fill(large, 1);
  if (proc_bytes("smaps_rollup", "AnonHugePages") < 8 * kMebi) GTEST_SKIP() << "this system gives no huge pages";
  const size_t before = proc_bytes("smaps_rollup", "AnonHugePages");
  std::vector<Buffer> buffers;
  for (int i = 0; i < 64; ++i) {
    buffers.emplace_back(kMebi / 2 + 100);
    fill(buffers.back(), 2);
  }
  EXPECT_GE(proc_bytes("smaps_rollup", "AnonHugePages"), before + 30 * kMebi);
}

TEST(Buffer, MemoryGoesBackWhileNeighboursStay) {
#if !defined(__x86_64__)
  GTEST_SKIP() << "under an emulator the resident memory is the emulator's";
#endif
  if (test::kSanitized) GTEST_SKIP() << "the resident memory is the sanitizer's, too";
  Buffer first(kMebi);
  Buffer freed(64 * kMebi);
  Buffer last(kMebi);
  for (Buffer* b : {&first, &freed, &last}) fill(*b, 3);
  const size_t before = proc_bytes("status", "VmRSS");
  freed = Buffer();
  EXPECT_LE(proc_bytes("status", "VmRSS"), before - 60 * kMebi);
  for (const Buffer* b : {&first, &last}) {
    const auto bytes = b->as<uint8_t>();
    EXPECT_TRUE(std::all_of(bytes.begin(), bytes.end(), [](uint8_t x) { return x == 3; }));
  }
}

// Under a limit on addresses (ulimit -v), and where the system counts what it has promised.
TEST(Buffer, AddressesAreUsedAgain) {
  if (test::kSanitized) GTEST_SKIP() << "the addresses are the sanitizer's, too";
  const size_t before = proc_bytes("status", "VmSize");
  std::vector<Buffer> kept;
  for (int i = 0; i < 100; ++i) {
    Buffer passing(22 * kMebi);
    kept.emplace_back(kMebi);
    fill(kept.back(), 4);
  }
  EXPECT_LE(proc_bytes("status", "VmSize"), before + 300 * kMebi);
}

TEST(Buffer, ThreadsTakeAndGiveBack) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (uint8_t id = 1; id <= 3; ++id)
    threads.emplace_back([&wrong, id] {
      Rng rng(id);
      std::vector<Buffer> held(4);
      for (int i = 0; i < (test::kSanitized ? 15 : 60); ++i) {
        Buffer& buffer = held[rng.below(held.size())];
        const auto old = buffer.as<uint8_t>();
        wrong += !std::all_of(old.begin(), old.end(), [&](uint8_t x) { return x == id; });
        buffer = Buffer(rng.below(3 * kMebi));
        const auto fresh = buffer.as<uint8_t>();
        wrong += !std::all_of(fresh.begin(), fresh.end(), [](uint8_t x) { return x == 0; });
        fill(buffer, id);
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Buffer, TellsWhenTheSystemRefuses) {
  try {
    Buffer buffer(size_t{1} << 62);
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(static_cast<int>(e.code()), static_cast<int>(ErrorCode::io));
    EXPECT_NE(std::string(e.what()).find(std::to_string(size_t{1} << 62)), std::string::npos);
  }
}

TEST(Buffer, Moves) {
  EXPECT_EQ(Buffer().data(), nullptr);
  EXPECT_EQ(Buffer(0).bytes(), 0u);
  for (size_t bytes : {size_t{100}, 3 * kMebi}) {
    Buffer a(bytes);
    a.as<uint8_t>()[7] = 42;
    Buffer b(std::move(a));
    EXPECT_EQ(a.bytes(), 0u);  // NOLINT(bugprone-use-after-move)
    EXPECT_EQ(b.as<uint8_t>()[7], 42);
    Buffer c(10);
    c = std::move(b);
    EXPECT_EQ(c.bytes(), bytes);
    EXPECT_EQ(c.as<uint8_t>()[7], 42);
  }
}

TEST(Buffer, SpansHoldWholeElements) {
  const Buffer buffer(11);
  EXPECT_EQ(buffer.as<uint32_t>().size(), 2u);
}

}  // namespace
}  // namespace codecllm
