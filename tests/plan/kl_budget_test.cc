// SPDX-License-Identifier: Apache-2.0
// Rates that a budget of divergence chooses.
#include "plan/kl_budget.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "eval/perplexity.h"
#include "quant/support.h"

namespace codecllm {
namespace {

using test::TempDirectory;
using test::two_threads;

constexpr double kStep = 1.0 / 32;

TEST(LeastRate, FindsTheStepInFewTrials) {
  for (const double factor : {4.0, 3.0, 6.0})
    for (const double most : {0.5, 0.07, 0.0123, 0.0008, 0.0005}) {
      const auto kl = [&](double bits) { return 2 * std::pow(factor, -bits); };
      std::vector<RateTrial> trials;
      const double bits = least_rate(most, kl, trials);
      EXPECT_LE(kl(bits), most);
      EXPECT_TRUE(bits == 2 || kl(bits - kStep) > most) << bits;
      EXPECT_LE(trials.size(), factor == 4.0 ? 5u : 11u) << factor << " " << most;
      for (const RateTrial& trial : trials) EXPECT_EQ(trial.kl, kl(trial.bits));
    }
}

TEST(LeastRate, EndsWhateverItIsTold) {
  std::vector<RateTrial> trials;
  EXPECT_EQ(least_rate(1e-3, [](double) { return 0.0; }, trials), 2);
  EXPECT_EQ(least_rate(1e-3, [](double bits) { return bits < 8 ? 1.0 : 1e-3; }, trials), 8);
  EXPECT_EQ(least_rate(1e-3, [](double bits) { return bits < 5 ? NAN : 1e-4; }, trials), 5);
  EXPECT_THROW(least_rate(1e-3, [](double) { return 1.0; }, trials), Error);
  EXPECT_THROW(least_rate(1e-3, [](double) { return NAN; }, trials), Error);
}

QuantizeOptions of_one_attention(const std::string& model) {
  QuantizeOptions options = {.scheme = scheme_preset("coded-4")};
  options.selection.only = {"model.layers.0.self_attn.*"};
  options.algorithm.calibration = {.text = model + "/heldout.txt", .samples = 2, .tokens = 64};
  return options;
}

TEST(KlBudget, IsKeptByTheLeastRateThatKeepsIt) {
  if (test::kSanitized) GTEST_SKIP() << "a whole model, several times";
  const TempDirectory dir;
  const std::string model = test::source_path("models/codecllm-stories");
  const double most = 0.0005;
  double reached = 0;
  const KlBudgetResult result = quantize_within_kl(two_threads(), model, dir / "q", of_one_attention(model), most, [&](double done, std::string_view what) {
    EXPECT_GE(done, reached) << what;
    EXPECT_LE(done, 1) << what;
    reached = done;
    return true;
  });
  EXPECT_TRUE(result.made.bad.empty());
  EXPECT_LE(result.kl, most);
  EXPECT_GT(result.bits, 2 + kStep);
  EXPECT_LT(result.bits, 8);
  EXPECT_TRUE(std::any_of(result.trials.begin(), result.trials.end(), [&](const RateTrial& trial) { return trial.bits == result.bits - kStep && trial.kl > most; }));
  EXPECT_LE(result.made.bits_per_weight, result.bits);
  EXPECT_EQ(result.made.plan.size(), 4u);

  // What was written is what was measured.
  const DecoderModel source = load_model(two_threads(), model), written = load_model(two_threads(), dir / "q");
  std::vector<int32_t> tokens;
  for (const auto& sample : calibration_samples(model, source.spec, of_one_attention(model).algorithm.calibration).samples) tokens.insert(tokens.end(), sample.begin(), sample.end());
  const PerplexityResult again = perplexity(written, tokens, {.context = 64, .stride = 64}, &source);
  EXPECT_EQ(again.kl_mean, result.kl);
  EXPECT_EQ(again.tokens, result.tokens);
  const Json config = read_json_file(dir / "q/config.json").at("quantization_config");
  EXPECT_EQ(config.at("rates").size(), 4u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), std::filesystem::directory_iterator()), 1);
}

TEST(KlBudget, RefusalsLeaveNothing) {
  if (test::kSanitized) GTEST_SKIP() << "a whole model, twice";
  const TempDirectory dir;
  const std::string model = test::source_path("models/codecllm-stories");
  const auto refused = [&](const QuantizeOptions& options, double most, const char* part) {
    try {
      quantize_within_kl(two_threads(), model, dir / "q", options, most);
      ADD_FAILURE() << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_call);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
    EXPECT_TRUE(std::filesystem::is_empty(dir.path())) << part;
  };
  refused(of_one_attention(model), 1e-9, "8 bits");
  refused(of_one_attention(model), 0, "above 0");
  QuantizeOptions options = of_one_attention(model);
  options.algorithm.calibration.text.clear();
  refused(options, 0.01, "--calibrate");
  options = of_one_attention(model);
  options.target.bits = 4;
  refused(options, 0.01, "without targets");
  options = of_one_attention(model);
  options.scheme = scheme_preset("int8");
  refused(options, 0.01, "coded-B");
  options = of_one_attention(model);
  options.selection.only = {"re:nothing"};
  EXPECT_THROW(quantize_within_kl(two_threads(), model, dir / "q", options, 0.01), Error);
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(KlBudget, TakesOverWhatAKilledCallLeftAndLeavesOthersAlone) {
  if (test::kSanitized) GTEST_SKIP() << "a whole model, several times";
  const TempDirectory dir;
  const std::string model = test::source_path("models/codecllm-stories");
  std::filesystem::create_directories(dir / "q.trial");
  dir.write("q.trial/notes", "mine");
  EXPECT_THROW(quantize_within_kl(two_threads(), model, dir / "q", of_one_attention(model), 0.5), Error);
  EXPECT_EQ(read_file(dir / "q.trial/notes"), "mine");
  std::filesystem::remove(dir / "q.trial/notes");
  dir.write("q.trial/.codecllm-trials", "");
  std::filesystem::create_directories(dir / "q.trial/model");
  EXPECT_LE(quantize_within_kl(two_threads(), model, dir / "q", of_one_attention(model), 0.5).kl, 0.5);
  EXPECT_FALSE(std::filesystem::exists(dir / "q.trial"));
}

TEST(KlBudget, LeavesTheTrialsOfAnotherCallAlone) {
  if (test::kSanitized) GTEST_SKIP() << "a whole model";
  const TempDirectory dir;
  const std::string model = test::source_path("models/codecllm-stories");
  std::filesystem::create_directories(dir / "q.trial");
  dir.write("q.trial/.codecllm-trials", "");
  dir.write("q.trial/kept", "theirs");
  const DirectoryLock held(dir / "q.trial");
  EXPECT_THROW(quantize_within_kl(two_threads(), model, dir / "q", of_one_attention(model), 0.5), Error);
  EXPECT_EQ(read_file(dir / "q.trial/kept"), "theirs");
}

TEST(KlBudget, StopsWhenAsked) {
  const TempDirectory dir;
  const std::string model = test::source_path("models/codecllm-stories");
  const Progress stop = [](double done, std::string_view) { return done < 0.2; };
  try {
    quantize_within_kl(two_threads(), model, dir / "q", of_one_attention(model), 0.002, stop);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::interrupted) << error.what();
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

}  // namespace
}  // namespace codecllm
