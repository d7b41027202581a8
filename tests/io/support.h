// SPDX-License-Identifier: Apache-2.0
// What the tests of this folder share: directories that vanish, safetensors bytes made by hand, caught
// errors.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

#include "codecllm/error.h"

namespace codecllm::test {

class TempDirectory {
 public:
  TempDirectory() {
    std::string pattern = testing::TempDir() + "codecllm-io-XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = pattern;
  }
  ~TempDirectory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

  std::string write(const std::string& name, std::string_view text) const {
    std::ofstream(*this / name, std::ios::binary) << text;
    return *this / name;
  }

 private:
  std::string path_;
};

inline std::string length_word(uint64_t length) {
  std::string word(8, '\0');
  for (size_t i = 0; i < 8; ++i) word[i] = static_cast<char>(length >> (8 * i) & 255);
  return word;
}

// A file of this header and this many bytes of data.
inline std::string safetensors(const std::string& header, size_t data_bytes = 0) {
  return length_word(header.size()) + header + std::string(data_bytes, '\x11');
}

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// The message of the Error that `body` throws, which must have this code.
template <class Body>
std::string error_of(Body&& body, ErrorCode code = ErrorCode::bad_input) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

}  // namespace codecllm::test
