// SPDX-License-Identifier: Apache-2.0
#include "io/compress.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "base/rng.h"
#include "codec/decoder.h"
#include "codecllm/error.h"
#include "io/safetensors_writer.h"

namespace codecllm {
namespace {

namespace fs = std::filesystem;

class Compress : public ::testing::Test {
 protected:
  Compress() : directory_(fs::temp_directory_path() / ("codecllm_compress_" + std::to_string(::getpid()))) {
    fs::remove_all(directory_);
    fs::create_directories(directory_);
    Rng rng(1);
    const auto normal = [&](size_t count, size_t bytes) {
      std::string out;
      for (size_t i = 0; i < count; ++i) {
        const auto value = static_cast<float>(rng.normal() * 0.02);
        char raw[4];
        std::memcpy(raw, &value, 4);
        out.append(raw + 4 - bytes, bytes);
      }
      return out;
    };
    const std::string wide = normal(70001, 4), brain = normal(150000, 2), little = normal(7, 2), odd = "abc";
    const auto bytes = [](const std::string& s) { return std::as_bytes(std::span(s)); };
    const std::vector<TensorData> tensors = {{{"wide", DType::f32, {70001}}, bytes(wide)},
                                             {{"brain", DType::bf16, {300, 500}}, bytes(brain)},
                                             {{"half", DType::f16, {150000}}, bytes(brain)},
                                             {{"little", DType::bf16, {7}}, bytes(little)},
                                             {{"empty", DType::f32, {0, 4}}, {}},
                                             {{"odd", DType::u8, {3}}, bytes(odd)}};
    write_safetensors(path("in"), tensors, {{"note", "kept"}});
  }
  ~Compress() override { fs::remove_all(directory_); }

  std::string path(const char* name) const { return directory_ / (std::string(name) + ".safetensors"); }

  const fs::path directory_;
  Context context_{{.threads = 2}};
};

TEST_F(Compress, RestoresTheFileByteForByte) {
  const CompressResult made = compress_file(context_, path("in"), path("small"));
  EXPECT_EQ(made.coded, 3);
  EXPECT_LT(made.bytes_out, made.bytes_in);
  EXPECT_EQ(made.bytes_out, fs::file_size(path("small")));
  decompress_file(context_, path("small"), path("folders/that/are new/again"), decode_panel_portable);
  EXPECT_TRUE(read_file(path("in")) == read_file(path("folders/that/are new/again")));
  Context one{{.threads = 1}};
  compress_file(one, path("in"), path("another/one"));
  EXPECT_TRUE(read_file(path("small")) == read_file(path("another/one"))) << "the bytes depend on the number of threads";
}

TEST_F(Compress, RefusesWrongCalls) {
  compress_file(context_, path("in"), path("small"));
  EXPECT_THROW(compress_file(context_, path("small"), path("again")), Error);
  EXPECT_THROW(compress_file(context_, path("in"), path("small")), Error);
  EXPECT_THROW(decompress_file(context_, path("in"), path("again"), decode_panel_portable), Error);
  EXPECT_FALSE(fs::exists(path("again")));
  EXPECT_FALSE(fs::exists(path("again") + ".partial"));
}

// A changed byte anywhere gives an error or, in the spaces after the header, nothing worse than the same file.
TEST_F(Compress, NoticesDamage) {
  compress_file(context_, path("in"), path("small"));
  const std::string good = read_file(path("small")), original = read_file(path("in"));
  Rng rng(2);
  int refused = 0;
  for (int round = 0; round < 60; ++round) {
    std::string bad = good;
    bad[rng.below(bad.size())] ^= static_cast<char>(1 << rng.below(8));
    write_file_atomically(path("bad"), bad);
    try {
      decompress_file(context_, path("bad"), path("again"), decode_panel_portable);
      EXPECT_TRUE(read_file(path("again")) == original);
      fs::remove(path("again"));
    } catch (const Error&) {
      ++refused;
      EXPECT_FALSE(fs::exists(path("again")));
    }
  }
  EXPECT_GT(refused, 50);
}

}  // namespace
}  // namespace codecllm
