// SPDX-License-Identifier: Apache-2.0
// Ctrl-C, kill -9 and full disks.
#include <gtest/gtest.h>
#include <sys/mount.h>

#include "cli/run.h"
#include "paths.h"

namespace codecllm {
namespace {

using test::Child;
using test::Outcome;
using test::run;
using test::TempDirectory;

class Interrupt : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { made_up_ = test::made_up_model(*shared_ / "m"); }
  static void TearDownTestSuite() { shared_.reset(); }

  std::vector<std::string> quantize(const std::string& output, const char* scheme = "int8") const {
    return {"quantize", made_up_, "-o", output, "--scheme", scheme};
  }

  static inline std::unique_ptr<TempDirectory> shared_ = std::make_unique<TempDirectory>();
  static inline std::string made_up_;
  TempDirectory temp_;
};

TEST_F(Interrupt, CtrlCEndsAText) {
  // A context so long that the text would take hours.
  const std::string model = test::tiny_model("llama", temp_ / "m", {{"max_position_embeddings", 10000000}});
  const std::vector<std::string> call = {"generate",     model,           "-p", "the", "-n", "9000000",
                                         "--ignore-eos", "--temperature", "1.5"};
  Child streaming(call);
  streaming.wait_until([&] { return streaming.out().size() > 20; });
  streaming.send(SIGINT);
  const Outcome text = streaming.wait();
  EXPECT_EQ(text.code, 130) << text.signal << text.err;
  EXPECT_TRUE(text.out.starts_with("the")) << text.out;

  std::vector<std::string> with_json = call;
  with_json.push_back("--json");
  Child silent(with_json);
  silent.wait_until([&] { return silent.err().find("loading") != std::string::npos; });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  silent.send(SIGINT);
  EXPECT_EQ(silent.wait().code, 130);
}

// A prompt whose attention alone takes minutes.
TEST_F(Interrupt, CtrlCEndsALongPrompt) {
  const std::string model = test::tiny_model("llama", temp_ / "m", {{"max_position_embeddings", 10000000}});
  std::string prompt;
  while (prompt.size() < 120000) prompt += "w ";
  temp_.write("text", prompt);
  for (const auto& call : std::vector<std::vector<std::string>>{{"generate", model, "-p", prompt, "-n", "1", "-q"},
                                                                {"generate", model, "-p", prompt, "-n", "1", "--json"},
                                                                {"perplexity", model, "--text", temp_ / "text", "--context", "60000", "-q"}}) {
    Child child(call);
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    child.send(SIGINT);
    const auto begin = std::chrono::steady_clock::now();
    const Outcome outcome = child.wait();
    EXPECT_EQ(outcome.code, 130);
    EXPECT_NE(outcome.err.find("interrupted"), std::string::npos) << call[0] << outcome.err;
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  }
}

TEST_F(Interrupt, CtrlCEndsALongRoundOfBench) {
  const std::string model = test::tiny_model("llama", temp_ / "m", {{"max_position_embeddings", 10000000}});
  Child child({"bench", model, "--decode-tokens", "500000"});
  child.wait_until([&] { return child.err().find("measuring") != std::string::npos; });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  child.send(SIGINT);
  EXPECT_EQ(child.wait().code, 130);
}

TEST_F(Interrupt, CtrlCDuringQuantizationCanBeTakenUpAgain) {
  ASSERT_EQ(run(quantize(temp_ / "whole")).code, 0);
  for (const char* phase : {"quantizing", "verifying"}) {
    Child child(quantize(temp_ / "out"));
    child.wait_until([&] { return child.err().find(phase) != std::string::npos; });
    child.send(SIGINT);
    const Outcome outcome = child.wait();
    ASSERT_EQ(outcome.code, 130) << outcome.signal << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_NE(outcome.err.find("codecllm: "), std::string::npos);
    EXPECT_FALSE(test::exists(temp_ / "out"));
    std::vector<std::string> again = quantize(temp_ / "out");
    again.push_back("--json");
    const Outcome finished = run(again);
    ASSERT_EQ(finished.code, 0) << finished.err;
    EXPECT_EQ(parse_json(finished.out, "json").at("resumed"), true);
    EXPECT_EQ(test::difference(temp_ / "out", temp_ / "whole"), "");
    std::filesystem::remove_all(temp_ / "out");
  }
}

TEST_F(Interrupt, KilledAtAnyMomentItEndsWithTheSameBytes) {
  if (test::kSanitized) GTEST_SKIP() << "a whole model, many times";
  Rng rng(7);
  for (const char* scheme : {"int8", "f32"}) {
    const std::string whole = temp_ / scheme;
    const auto begin = std::chrono::steady_clock::now();
    ASSERT_EQ(run(quantize(whole, scheme)).code, 0);
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    int killed = 0;
    for (int trial = 0; trial < 4; ++trial) {
      for (int i = 0; i < 3 && !test::exists(temp_ / "out"); ++i) {
        Child child(quantize(temp_ / "out", scheme));
        std::this_thread::sleep_for(time * (rng.uniform() * 0.8));
        child.send(SIGKILL);
        killed += child.wait().signal == SIGKILL ? 1 : 0;
      }
      if (!test::exists(temp_ / "out")) {
        const Outcome last = run(quantize(temp_ / "out", scheme));
        ASSERT_EQ(last.code, 0) << last.err;
      }
      run(quantize(temp_ / "out", scheme));  // refused, but a journal that was left is gone
      ASSERT_EQ(test::difference(temp_ / "out", whole), "") << scheme;
      EXPECT_FALSE(test::exists(temp_ / "out.partial"));
      std::filesystem::remove_all(temp_ / "out");
    }
    EXPECT_GT(killed, 0) << scheme;  // a fast machine may be done before most of the signals
  }
}

// A file system of this size, or a skipped test.
class SmallDisk {
 public:
  SmallDisk(const std::string& path, size_t bytes) : path_(path) {
    std::filesystem::create_directories(path);
    mounted_ = ::mount("tmpfs", path.c_str(), "tmpfs", 0, ("size=" + std::to_string(bytes)).c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }

 private:
  std::string path_;
  bool mounted_;
};

TEST_F(Interrupt, AFullDiskLeavesNothing) {
  ASSERT_EQ(run(quantize(temp_ / "whole")).code, 0);
  const size_t weights = std::filesystem::file_size(temp_ / "whole/model.safetensors");
  std::ofstream(made_up_ + "/large.txt") << std::string(size_t{4} << 20, 'x');
  // Too small for the weights, which is known before any work; and too small only for the last file.
  for (size_t bytes : {weights / 2, weights + (size_t{2} << 20)}) {
    const SmallDisk disk(temp_ / "disk", bytes);
    if (!disk.mounted()) {
      std::filesystem::remove(made_up_ + "/large.txt");
      GTEST_SKIP() << "no file system can be mounted here";
    }
    std::vector<std::string> call = quantize(temp_ / "disk/out");
    call.push_back("-q");
    test::expect_refusal(run(call), 1, {"No space left"});
    EXPECT_TRUE(std::filesystem::is_empty(temp_ / "disk")) << bytes;
  }
  std::filesystem::remove(made_up_ + "/large.txt");
}

TEST_F(Interrupt, AFullDiskLeavesNothingOfFilesThatGrow) {
  const std::string disk = temp_ / "disk";
  const std::vector<std::vector<std::string>> calls = {{"quantize", made_up_, "-o", disk + "/out", "--scheme", "lossless", "-q"},
                                                       {"convert", made_up_, "-o", disk + "/out", "--to", "bf16", "-q"},
                                                       {"compress", made_up_ + "/model.safetensors", "-o", disk + "/out", "-q"}};
  for (const auto& call : calls) {
    const SmallDisk small(disk, size_t{4} << 20);
    if (!small.mounted()) GTEST_SKIP() << "no file system can be mounted here";
    test::expect_refusal(run(call), 1, {"No space left"});
    EXPECT_TRUE(std::filesystem::is_empty(disk)) << call[0];
  }
}

}  // namespace
}  // namespace codecllm
