// SPDX-License-Identifier: Apache-2.0
// Interrupted and called again, a quantization ends with the bytes of one that never stopped.
#include <gtest/gtest.h>

#include <fstream>

#include "quant/output.h"
#include "quant/quantize.h"
#include "quant/support.h"

namespace codecllm {
namespace {

class Resume : public ::testing::Test {
 protected:
  void SetUp() override {
    source_ = test::copied_model("llama-bf16", temp_ / "m");
    temp_.write("m/tokenizer.json", "{\"some\": \"text\"}");
  }

  QuantizeResult quantize(const std::string& output, const char* scheme = "int8",
                          const Progress& progress = {}) {
    // Small shards, so that several files are taken up again.
    return quantize_checkpoint(test::two_threads(), source_, temp_ / output,
                               {.scheme = scheme_preset(scheme), .shard_bytes = 40000}, progress);
  }

  // How often progress is reported, or where it is cancelled. After it, only OUT.partial may exist.
  int calls_of(const std::string& output, const char* scheme, int cancel_at) {
    int calls = 0;
    const auto run = [&] {
      quantize(output, scheme, [&](double share, std::string_view) {
        EXPECT_TRUE(share >= 0 && share <= 1);
        return ++calls != cancel_at;
      });
    };
    if (cancel_at == 0) {
      run();
      return calls;
    }
    test::error_of(run, ErrorCode::interrupted);
    EXPECT_FALSE(test::exists(temp_ / output));
    EXPECT_TRUE(test::exists(temp_ / output + ".partial/.codecllm-journal"));
    return calls;
  }

  void expect_finishes(const std::string& output, const std::string& expected, const char* scheme,
                       bool resumed) {
    const QuantizeResult result = quantize(output, scheme);
    EXPECT_EQ(result.resumed, resumed);
    EXPECT_TRUE(result.bad.empty());
    EXPECT_EQ(test::difference(temp_ / output, temp_ / expected), "");
    EXPECT_FALSE(test::exists(temp_ / output + ".partial"));
    std::filesystem::remove_all(temp_ / output);
  }

  test::TempDirectory temp_;
  std::string source_;
};

TEST_F(Resume, GoesOnFromEveryPlaceToTheSameBytes) {
  for (const char* scheme : {"int8", "f16"}) {
    const std::string whole = std::string("whole-") + scheme;
    const int calls = calls_of(whole, scheme, 0);
    ASSERT_GT(calls, 22);  // 21 tensors, and the verification
    for (int at = 1; at <= calls; at += at < 4 ? 1 : 9) {
      calls_of("out", scheme, at);
      expect_finishes("out", whole, scheme,
                      at > 1);  // the first report comes before the first tensor is done
    }
  }
}

TEST_F(Resume, CanBeInterruptedAgainAndAgain) {
  quantize("whole");
  int rounds = 0;
  for (bool done = false; !done; ++rounds) {
    int left = 9 + 3 * rounds;  // a resumed run reports what is done, too
    try {
      quantize("out", "int8", [&](double, std::string_view) { return --left > 0; });
      done = true;
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ErrorCode::interrupted);
    }
  }
  EXPECT_GT(rounds, 3);
  EXPECT_EQ(test::difference(temp_ / "out", temp_ / "whole"), "");
}

TEST_F(Resume, AnotherSchemeStartsOver) {
  quantize("int8", "int8");
  quantize("int4", "int4-g128");
  for (const char* first : {"int4-g128", "bf16", "int8-tensor"}) {
    calls_of("out", first, 12);
    expect_finishes("out", "int8", "int8", false);
  }
  calls_of("out", "int8", 12);
  expect_finishes("out", "int4", "int4-g128", false);
}

TEST_F(Resume, AnotherSourceStartsOver) {
  calls_of("out", "int8", 12);
  test::Tensors tensors = test::read_tensors(source_);
  test::set_value(tensors.at("model.layers.0.mlp.down_proj.weight"), 7, 0.25f);
  test::write_tensors(source_ + "/model.safetensors", tensors);  // same size, same names
  quantize("whole");
  expect_finishes("out", "whole", "int8", false);
}

TEST_F(Resume, ACutLineOfTheJournalDoesNotCount) {
  quantize("whole");
  const std::string journal = temp_ / "out.partial/.codecllm-journal";
  for (size_t cut : {1u, 2u, 9u, 30u}) {
    calls_of("out", "int8", 9);
    std::filesystem::resize_file(journal, std::filesystem::file_size(journal) - cut);
    expect_finishes("out", "whole", "int8", true);
  }
  // A line without its end says nothing, even where what stands there is a tensor's name.
  calls_of("out", "int8", 2);
  std::ofstream(journal, std::ios::app) << R"({"done":"model.layers.1.mlp.up_proj.weight","wrote":[]})";
  expect_finishes("out", "whole", "int8", true);
}

TEST_F(Resume, ADamagedPartialOutputStartsOver) {
  quantize("whole");
  const auto damaged = [&](const auto& damage) {
    calls_of("out", "int8", 15);
    damage(temp_ / "out.partial");
    expect_finishes("out", "whole", "int8", false);
  };
  damaged([](const std::string& d) { std::ofstream(d + "/.codecllm-journal") << ""; });
  damaged([](const std::string& d) { std::ofstream(d + "/.codecllm-journal") << "something else\n"; });
  for (const char* line : {"{}", "[", "{\"done\":1,\"wrote\":[]}", "{\"done\":\"x\",\"wrote\":[[1,\"BF16\",[1],0,1]]}", "{\"done\":\"x\",\"wrote\":[[]]}"})
    damaged([&](const std::string& d) { std::ofstream(d + "/.codecllm-journal", std::ios::app) << line << "\n"; });
  damaged([](const std::string& d) {
    for (const auto& entry : std::filesystem::directory_iterator(d))
      if (entry.path().extension() == ".safetensors")
        return std::filesystem::resize_file(entry.path(), entry.file_size() - 1);
  });
  damaged([](const std::string& d) {
    for (const auto& entry : std::filesystem::directory_iterator(d))
      if (entry.path().extension() == ".safetensors") {
        std::filesystem::remove(entry.path());
        return;
      }
  });
  // And what does not belong there does not stay.
  std::filesystem::create_directories(temp_ / "out.partial/old");
  temp_.write("out.partial/.codecllm-journal", "");
  temp_.write("out.partial/old/file", "x");
  temp_.write("out.partial/model.safetensors", "y");
  expect_finishes("out", "whole", "int8", false);
}

TEST_F(Resume, ADirectoryOfSomebodyElseIsLeftAlone) {
  std::filesystem::create_directories(temp_ / "out.partial");
  temp_.write("out.partial/thesis.txt", "mine");
  test::error_of([&] { quantize("out"); }, ErrorCode::bad_call);
  EXPECT_EQ(read_file(temp_ / "out.partial/thesis.txt"), "mine");
}

TEST_F(Resume, KilledWhenAllIsDoneItLeavesNoJournal) {
  quantize("whole");
  std::filesystem::copy(temp_ / "whole", temp_ / "out");
  temp_.write(std::string("out/") + kJournalFile, "lines");
  test::error_of([&] { quantize("out"); }, ErrorCode::bad_call);
  EXPECT_EQ(test::difference(temp_ / "out", temp_ / "whole"), "");
}

TEST_F(Resume, ADamagedTokenizerCostsNoWork) {
  quantize("whole");
  calls_of("out", "int8", 5);
  temp_.write("m/tokenizer_config.json", "{bad");
  test::error_of([&] { quantize("out"); }, ErrorCode::bad_input);
  std::filesystem::remove(temp_ / "m/tokenizer_config.json");
  expect_finishes("out", "whole", "int8", true);
}

TEST_F(Resume, APartialOutputIsNotTakenForAnOutput) {
  std::filesystem::create_directories(temp_ / "out.partial");
  temp_.write(std::string("out.partial/") + kJournalFile, "lines");
  std::filesystem::create_directory_symlink("out.partial", temp_ / "link");
  for (const char* name : {"out.partial", "out.partial/", "out.partial/.", "link"}) test::error_of([&] { quantize(name); }, ErrorCode::bad_call);
  EXPECT_EQ(read_file(temp_ / "out.partial/" + kJournalFile), "lines");
}

TEST_F(Resume, AFinishedModelOfThatNameIsLeftAlone) {
  quantize("whole");
  std::filesystem::copy(temp_ / "whole", temp_ / "out.partial");
  test::error_of([&] { quantize("out"); }, ErrorCode::bad_call);
  EXPECT_EQ(test::difference(temp_ / "out.partial", temp_ / "whole"), "");
}

TEST_F(Resume, TwoAtATimeAreRefused) {
  quantize("whole");
  bool tried = false;
  quantize("out", "int8", [&](double, std::string_view) {
    if (!tried) {
      tried = true;
      test::error_of([&] { quantize("out", "int8"); }, ErrorCode::bad_call);
    }
    return true;
  });
  EXPECT_TRUE(tried);
  EXPECT_EQ(test::difference(temp_ / "out", temp_ / "whole"), "");
}

}  // namespace
}  // namespace codecllm
