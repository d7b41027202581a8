// SPDX-License-Identifier: Apache-2.0
#include "base/memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

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

TEST(Buffer, AnOddEndTakesNoHugePage) {
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
