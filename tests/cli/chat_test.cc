// SPDX-License-Identifier: Apache-2.0
// Conversations that are longer than the model.
#include <gmock/gmock.h>

#include <algorithm>
#include <cstdlib>

#include "cli/run.h"

namespace codecllm {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Said {
  int code;
  std::string out, err;
};

// lines: a shell command that says them.
Said chat(const test::TempDirectory& temp, const std::string& lines, const std::string& options) {
  const std::string model = test::tiny_model("llama", temp / "m");  // 64 positions
  temp.write("m/tokenizer_config.json", R"({"chat_template": "{% for m in messages %}{{ m['content'] }} {% endfor %}"})");
  const std::string call = "(" + lines + ") | " + test::binary_path("codecllm") + " chat " + model + " -n 8 --ignore-eos " + options + " > " + (temp / "out") + " 2> " + (temp / "err");
  const int status = std::system(call.c_str());
  return {WEXITSTATUS(status), read_file(temp / "out"), read_file(temp / "err")};
}

Said chat(const test::TempDirectory& temp, const std::string& lines) {
  return chat(temp, "cat " + temp.write("lines", lines), "");
}

TEST(CliChat, LeavesTheOldestTurnsOut) {
  const test::TempDirectory temp;
  std::string lines;
  for (int i = 0; i < 8; ++i) lines += "the hen ran in the sun\n";
  const Said said = chat(temp, lines);
  EXPECT_EQ(said.code, 0) << said.err;
  EXPECT_THAT(said.err, HasSubstr("what was said first is left out"));
  EXPECT_GE(std::count(said.out.begin(), said.out.end(), '\n'), 8);
  EXPECT_THAT(said.out, Not(HasSubstr("> ")));  // nobody is there to be asked
}

TEST(CliChat, GoesOnAfterAMessageThatIsTooLong) {
  const test::TempDirectory temp, other;
  const Said said = chat(temp, "the hen\n" + std::string(100, 'x') + "\nthe man\n"), without = chat(other, "the hen\nthe man\n");
  EXPECT_EQ(said.code, 0) << said.err;
  EXPECT_THAT(said.err, HasSubstr("fewer words"));
  EXPECT_EQ(said.out, without.out);  // what was said before it is not forgotten
}

TEST(CliChat, SaysThatAMappedFileWasCutShort) {
  const test::TempDirectory temp;
  const std::string loaded = "for i in $(seq 400); do grep -q 'stay in' " + (temp / "err") + " && break; sleep 0.05; done";
  const Said said = chat(temp, loaded + "; : > " + (temp / "m/model.safetensors") + "; echo the hen", "--mmap");
  EXPECT_EQ(said.code, 1);
  EXPECT_THAT(said.err, HasSubstr("a file in use was cut short"));
}

}  // namespace
}  // namespace codecllm
