// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/file.h"
#include "base/json.h"
#include "paths.h"
#include "text/tokenizer.h"

namespace codecllm {

inline std::string data_path(const std::string& file) {
  return test::source_path("tests/text/data/" + file);
}

// Runs `act` and checks that it throws an Error of this code whose message contains `part`.
template <class Act>
void expect_error(ErrorCode code, const std::string& part, Act act) {
  try {
    act();
    ADD_FAILURE() << "no error, expected one with '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), testing::HasSubstr(part));
  }
}

}  // namespace codecllm
