// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include "codecllm/codecllm.h"

namespace codecllm {
namespace {

// Numbers out of range.
TEST(CInterface, NumbersOutOfRangeAreErrors) {
  for (const int threads : {-1, 100000000}) {
    EXPECT_EQ(codecllm_context_new(threads), nullptr);
    EXPECT_THAT(codecllm_last_error(), testing::HasSubstr(std::to_string(threads) + " threads"));
  }
}

// The NULL of a call that failed, passed on without a look at it.
TEST(CInterface, NullIsAnErrorAndNoCrash) {
  EXPECT_EQ(codecllm_model_load(nullptr, "m"), nullptr);
  EXPECT_THAT(codecllm_last_error(), testing::HasSubstr("the context is NULL"));
  codecllm_context* context = codecllm_context_new(1);
  ASSERT_NE(context, nullptr);
  EXPECT_EQ(codecllm_model_load(context, nullptr), nullptr);
  EXPECT_THAT(codecllm_last_error(), testing::HasSubstr("the directory is NULL"));
  EXPECT_EQ(codecllm_session_new(nullptr, 0), nullptr);
  EXPECT_EQ(codecllm_generate(nullptr, "x", 1, 0, 0), nullptr);
  EXPECT_LT(codecllm_quantize(context, "m", nullptr, "int8"), 0);
  codecllm_context_free(context);
  codecllm_context_free(nullptr);
}

}  // namespace
}  // namespace codecllm
