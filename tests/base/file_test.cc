// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "codecllm/error.h"

namespace codecllm {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class File : public ::testing::Test {
 protected:
  File() {
    directory_ = (fs::temp_directory_path() / "codecllm-test-XXXXXX").string();
    if (mkdtemp(directory_.data()) == nullptr) throw std::runtime_error("no temporary directory");
  }
  ~File() override { fs::remove_all(directory_); }

  std::string at(const std::string& name) const { return directory_ + "/" + name; }
  size_t entries() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(directory_), {}));
  }

  template <class Body>
  void expect_io_error(const std::string& path, const Body& body) {
    try {
      body();
      ADD_FAILURE() << "no error";
    } catch (const Error& e) {
      EXPECT_EQ(static_cast<int>(e.code()), static_cast<int>(ErrorCode::io));
      EXPECT_EQ(e.place().file, path);
      EXPECT_THAT(e.what(), HasSubstr(path));
    }
  }

  std::string directory_;
};

TEST_F(File, AppearsOnCommitOnly) {
  {
    AtomicFile file(at("out"));
    file.write("hello ");
    file.write("world");
    EXPECT_FALSE(file_exists(at("out")));
    file.commit();
    EXPECT_EQ(read_file(at("out")), "hello world");
  }
  EXPECT_EQ(read_file(at("out")), "hello world");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(File, LeavesNothingWithoutCommit) {
  { AtomicFile(at("out")).write("hello"); }
  EXPECT_EQ(entries(), 0u);
  write_file_atomically(at("out"), "old");
  { AtomicFile(at("out")).write("new"); }
  EXPECT_EQ(read_file(at("out")), "old");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(File, LeavesSomebodyElsesPartialAlone) {
  std::ofstream(at("out.partial")) << "theirs";
  try {
    AtomicFile file(at("out"));
    FAIL() << "it was replaced";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_call);
    EXPECT_EQ(error.place().file, at("out.partial"));
  }
  EXPECT_EQ(read_file(at("out.partial")), "theirs");
  write_file_atomically(at("out"), "ours");  // in a directory of our own it is a leftover
  EXPECT_EQ(entries(), 1u);
}

TEST_F(File, ReplacesOnCommit) {
  write_file_atomically(at("out"), "a longer text");
  write_file_atomically(at("out"), "short");
  EXPECT_EQ(read_file(at("out")), "short");
  // What was mapped before stays what it was.
  const MappedFile before(at("out"));
  write_file_atomically(at("out"), "other");
  EXPECT_EQ(std::memcmp(before.bytes().data(), "short", 5), 0);
  AtomicFile again(at("out"));
  again.write("head");
  again.write("tail");
  again.commit();
  EXPECT_EQ(read_file(at("out")), "headtail");
}

TEST_F(File, WritesAnywhere) {
  OutputFile file(at("out"), OutputFile::Mode::create);
  file.reserve(12);
  file.write_at(8, "tail", 4);
  file.write_at(0, "head", 4);
  EXPECT_EQ(read_file(at("out")), std::string("head\0\0\0\0tail", 12));
  OutputFile again(at("out"), OutputFile::Mode::modify);
  again.truncate(4);
  again.write_at(4, "!", 1);
  again.close();
  EXPECT_EQ(read_file(at("out")), "head!");
  expect_io_error(at("none"), [&] { OutputFile(at("none"), OutputFile::Mode::modify); });
}

TEST_F(File, FailsWhereItCannotWrite) {
  expect_io_error(at("no/such/out"), [&] { AtomicFile file(at("no/such/out")); });
  fs::create_directory(at("folder"));
  expect_io_error(at("folder"), [&] { write_file_atomically(at("folder"), "x"); });
  EXPECT_EQ(entries(), 1u);  // the folder, and no partial file beside it
}

TEST_F(File, FullDiskIsAnErrorAndLeavesNothing) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  fs::create_symlink("/dev/full", at("out.partial"));  // where the bytes go until commit
  expect_io_error(at("out"), [&] { write_file_atomically(at("out"), std::string(100000, 'x')); });
  EXPECT_EQ(entries(), 0u);
}

TEST_F(File, ReadsWholeFilesUpToALimit) {
  const std::string text(10000, 'x');
  write_file_atomically(at("in"), text);
  EXPECT_EQ(read_file(at("in"), text.size()), text);
  expect_io_error(at("in"), [&] { read_file(at("in"), text.size() - 1); });
  expect_io_error(at("none"), [&] { read_file(at("none")); });
  expect_io_error(directory_, [&] { read_file(directory_); });
  expect_io_error("/dev/zero", [&] { read_file("/dev/zero"); });
  EXPECT_FALSE(file_exists(directory_));
  EXPECT_FALSE(file_exists(at("none")));
}

TEST_F(File, Maps) {
  write_file_atomically(at("in"), std::string(10000, 'a') + "end");
  MappedFile file(at("in"));
  ASSERT_EQ(file.bytes().size(), 10003u);
  EXPECT_EQ(file.path(), at("in"));
  file.release(file.bytes());  // the pages come back from the file
  EXPECT_EQ(std::memcmp(file.bytes().data() + 10000, "end", 3), 0);
  const MappedFile moved(std::move(file));
  EXPECT_EQ(std::memcmp(moved.bytes().data() + 10000, "end", 3), 0);
  write_file_atomically(at("empty"), "");
  EXPECT_TRUE(MappedFile(at("empty")).bytes().empty());
  EXPECT_EQ(read_file(at("empty")), "");
  expect_io_error(at("none"), [&] { MappedFile(at("none")); });
  expect_io_error(directory_, [&] { MappedFile{directory_}; });
}

}  // namespace
}  // namespace codecllm
