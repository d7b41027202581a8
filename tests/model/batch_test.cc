// SPDX-License-Identifier: Apache-2.0
// A sequence's logits do not depend on what shares its batch, on the threads, or on who else uses the model.
#include <gtest/gtest.h>

#include <thread>

#include "base/cpu.h"
#include "base/rng.h"
#include "model/forward.h"
#include "model/model_test.h"

namespace codecllm {
namespace {

// A sequence that is fed `prompt` at once and then one token at a time.
struct Text {
  std::vector<int32_t> tokens;
  size_t prompt;
};

std::vector<Text> texts(int64_t vocab) {
  Rng rng(61);
  std::vector<Text> list = {{{}, 9}, {{}, 1}, {{}, 66}};  // the last crosses a block of the cache
  for (Text& text : list)
    for (size_t i = 0; i < text.prompt + 4; ++i)
      text.tokens.push_back(static_cast<int32_t>(rng.below(vocab)));
  return list;
}

using Logits = std::vector<std::vector<float>>;  // [sequence][token * vocab]

// Runs the texts together. Text s joins at step s with its whole prompt, while the others go on by single
// tokens.
Logits run_together(const DecoderModel& model, const std::vector<Text>& list, KvType type) {
  KvCache cache(model.spec, type, 300, static_cast<int64_t>(list.size()));
  std::vector<KvSequence> sequences(list.size());
  Forward forward(model, cache);
  Logits logits(list.size());
  const auto vocab = static_cast<size_t>(model.spec.vocab);
  for (size_t step = 0; step < 12; ++step) {
    std::vector<BatchRow> rows;
    std::vector<size_t> owners;
    for (size_t s = 0; s < list.size() && s <= step; ++s) {
      const auto at = static_cast<size_t>(sequences[s].length);
      const size_t end = std::min(list[s].tokens.size(), step == s ? list[s].prompt : at + 1);
      cache.grow(sequences[s], static_cast<int64_t>(end - at));
      for (size_t i = at; i < end; ++i) {
        rows.push_back({list[s].tokens[i], &sequences[s], static_cast<int64_t>(i), true});
        owners.push_back(s);
      }
    }
    const auto out = forward.run(rows);
    EXPECT_EQ(out.size(), rows.size() * vocab);
    for (size_t r = 0; r < rows.size(); ++r)
      logits[owners[r]].insert(logits[owners[r]].end(), out.begin() + r * vocab,
                               out.begin() + (r + 1) * vocab);
  }
  return logits;
}

std::vector<std::string> models_of_fixed_rotation() {
  auto list = model_names();
  std::erase(list, "rope-dynamic");  // its frequencies depend on the length so far
  return list;
}

class Batch : public ::testing::TestWithParam<std::string> {
 protected:
  const std::string directory = model_directory(GetParam());
};

TEST_P(Batch, TogetherGivesTheBitsOfAlone) {
  for (Isa isa : available_isas()) {
    const Context context({.threads = 2, .isa = std::string(isa_name(isa))});
    const DecoderModel model = load_model(context, directory);
    const auto list = texts(model.spec.vocab);
    for (KvType type : {KvType::f32, KvType::f16}) {
      const Logits together = run_together(model, list, type);
      for (size_t s = 0; s < list.size(); ++s) {
        ASSERT_EQ(together[s].size(), list[s].tokens.size() * static_cast<size_t>(model.spec.vocab));
        EXPECT_EQ(run_together(model, {list[s]}, type)[0], together[s])
            << isa_name(isa) << ", sequence " << s;
      }
    }
  }
}

TEST_P(Batch, ThreadsGiveTheSameBits) {
  Logits expected;
  for (int threads : {1, 2, 4}) {
    const Context context({.threads = threads, .isa = {}});
    const DecoderModel model = load_model(context, directory);
    const Logits got = run_together(model, texts(model.spec.vocab), KvType::f32);
    if (threads == 1) expected = got;
    EXPECT_EQ(got, expected) << threads << " threads";
  }
}

TEST_P(Batch, TwoCallersShareAModel) {
  const Context context({.threads = 2, .isa = {}});
  const DecoderModel model = load_model(context, directory);
  const auto list = texts(model.spec.vocab);
  const Logits expected = run_together(model, list, KvType::f32);
  Logits got[2][3];
  std::vector<std::thread> callers;
  for (auto& rounds : got)
    callers.emplace_back([&] {
      for (Logits& logits : rounds) logits = run_together(model, list, KvType::f32);
    });
  for (auto& caller : callers) caller.join();
  for (const auto& rounds : got)
    for (const Logits& logits : rounds) EXPECT_EQ(logits, expected);
}

// Only the wanted rows come out, in order, and the others change nothing.
TEST_P(Batch, WantedLogitsComeInOrder) {
  const Context context({.threads = 2, .isa = {}});
  const DecoderModel model = load_model(context, directory);
  const auto vocab = static_cast<size_t>(model.spec.vocab);
  const Text text = texts(model.spec.vocab)[0];
  const auto run = [&](auto wanted) {
    KvCache cache(model.spec, KvType::f32, 64);
    KvSequence sequence;
    cache.grow(sequence, static_cast<int64_t>(text.tokens.size()));
    std::vector<BatchRow> rows;
    for (size_t i = 0; i < text.tokens.size(); ++i)
      rows.push_back({text.tokens[i], &sequence, static_cast<int64_t>(i), wanted(i)});
    Forward forward(model, cache);
    const auto out = forward.run(rows);
    return std::vector<float>(out.begin(), out.end());
  };
  const auto all = run([](size_t) { return true; });
  const auto some = run([](size_t i) { return i == 2 || i == 5 || i == 12; });
  ASSERT_EQ(some.size(), 3 * vocab);
  const size_t rows[] = {2, 5, 12};
  for (size_t r = 0; r < 3; ++r)
    for (size_t k = 0; k < vocab; ++k) ASSERT_EQ(some[r * vocab + k], all[rows[r] * vocab + k]);
  EXPECT_TRUE(run([](size_t) { return false; }).empty());
}

INSTANTIATE_TEST_SUITE_P(, Batch, ::testing::ValuesIn(models_of_fixed_rotation()), test_name);

}  // namespace
}  // namespace codecllm
