// SPDX-License-Identifier: Apache-2.0
#include "codecllm/error.h"

#include <gtest/gtest.h>

namespace codecllm {
namespace {

TEST(Error, MessageNamesWhatIsKnown) {
  const auto text = [](ErrorPlace place) {
    return std::string(Error(ErrorCode::io, "load", "is bad", place).what());
  };
  EXPECT_EQ(text({}), "[load] is bad");
  EXPECT_EQ(text({.file = "f"}), "[load] is bad in f");
  EXPECT_EQ(text({.tensor = "t"}), "[load] is bad (tensor t)");
  EXPECT_EQ(text({.file = "f", .tensor = "t"}), "[load] is bad (tensor t) in f");
}

TEST(Error, KeepsItsParts) {
  const Error error(ErrorCode::unsupported, "op", "what", {.file = "f", .tensor = "t"});
  EXPECT_EQ(error.code(), ErrorCode::unsupported);
  EXPECT_EQ(error.op(), "op");
  EXPECT_EQ(error.place().file, "f");
  EXPECT_EQ(error.place().tensor, "t");
  const std::exception& base = error;
  EXPECT_STREQ(base.what(), "[op] what (tensor t) in f");
}

TEST(Error, ExitCodes) {
  const auto code = [](ErrorCode c) { return Error(c, "op", "what").exit_code(); };
  EXPECT_EQ(code(ErrorCode::bad_input), 1);
  EXPECT_EQ(code(ErrorCode::io), 1);
  EXPECT_EQ(code(ErrorCode::bad_call), 2);
  EXPECT_EQ(code(ErrorCode::unsupported), 2);
  EXPECT_EQ(code(ErrorCode::interrupted), 130);
}

}  // namespace
}  // namespace codecllm
