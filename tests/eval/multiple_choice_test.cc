// SPDX-License-Identifier: Apache-2.0
#include "eval/multiple_choice.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "base/rng.h"
#include "gen/tiny_tokenizer.h"
#include "quant/support.h"

namespace codecllm {
namespace {

using test::error_of;

DecoderModel tiny_model() { return load_model(test::two_threads(), test::model_data("llama")); }

// Sum of log-probabilities of `text` after `prompt`, every token from a forward of its own.
double score_from_scratch(const DecoderModel& model, const std::string& prompt, const std::string& choice, size_t cut = 0) {
  const Tokenizer tokenizer = test::tiny_tokenizer();
  auto tokens = tokenizer.encode(prompt + choice, true, false);
  tokens.erase(tokens.begin(), tokens.begin() + static_cast<ptrdiff_t>(cut));
  double sum = 0;
  for (size_t at = tokenizer.encode(prompt, true, false).size() - cut; at < tokens.size(); ++at) {
    KvCache cache(model.spec, KvType::f16, 64);
    KvSequence sequence;
    cache.grow(sequence, static_cast<int64_t>(at));
    Forward forward(model, cache);
    std::vector<BatchRow> rows;
    for (size_t i = 0; i < at; ++i) rows.push_back({tokens[i], &sequence, static_cast<int64_t>(i), i + 1 == at});
    const auto logits = forward.run(rows);
    double total = 0;
    for (float v : logits) total += std::exp(static_cast<double>(v));
    sum += logits[tokens[at]] - std::log(total);
  }
  return sum / static_cast<double>(choice.size());
}

const std::vector<Question> kQuestions = {
    {"the man", {" is in", " has", " ran"}, 1},
    {"a hen and", {" the sun", " x", " another hen", " I"}, 0},
    {"q", {"the", "w"}, 0},                // no space between
    {"in th", {"e", "at", " in"}, 2},      // "the" merges with the prompt's end
    {"so", {" hen", " hen is", " h"}, 2},  // one begins like another
};

TEST(MultipleChoice, TheAnswerIsTheLikeliestPerByte) {
  const DecoderModel model = tiny_model();
  const ChoiceResult r = multiple_choice(model, test::tiny_tokenizer(), kQuestions);
  ASSERT_EQ(r.answers.size(), kQuestions.size());
  int64_t right = 0;
  for (size_t i = 0; i < kQuestions.size(); ++i) {
    if (i == 3) continue;
    const Question& q = kQuestions[i];
    size_t best = 0;
    for (size_t c = 1; c < q.choices.size(); ++c)
      if (score_from_scratch(model, q.prompt, q.choices[c]) > score_from_scratch(model, q.prompt, q.choices[best])) best = c;
    EXPECT_EQ(r.answers[i], static_cast<int64_t>(best)) << i;
  }
  for (size_t i = 0; i < kQuestions.size(); ++i) right += r.answers[i] == kQuestions[i].answer ? 1 : 0;
  EXPECT_EQ(r.n, 5);
  EXPECT_DOUBLE_EQ(r.accuracy, static_cast<double>(right) / 5);
  EXPECT_DOUBLE_EQ(r.stderr_, std::sqrt(r.accuracy * (1 - r.accuracy) / 4));
}

TEST(MultipleChoice, AModelAgreesWithItselfAndNotWithAnother) {
  const DecoderModel model = tiny_model(), same = tiny_model();
  const DecoderModel other = load_model(test::two_threads(), test::model_data("mistral"));
  std::vector<Question> many;
  for (const char* prompt : {"a", "the", "in", "hen", "so it", "I am", "x 1", "(", "why", "and"})
    many.push_back({prompt, {" cat", " dog", " sum", " fox", " yew"}, 0});
  const ChoiceResult r = multiple_choice(model, test::tiny_tokenizer(), many, &same);
  EXPECT_TRUE(r.compared);
  EXPECT_EQ(r.agreement, 1);
  EXPECT_EQ(r.reference_accuracy, r.accuracy);
  const ChoiceResult alone = multiple_choice(other, test::tiny_tokenizer(), many),
                     both = multiple_choice(model, test::tiny_tokenizer(), many, &other);
  double alike = 0;
  for (size_t i = 0; i < many.size(); ++i) alike += alone.answers[i] == r.answers[i] ? 0.1 : 0;
  EXPECT_NEAR(both.agreement, alike, 1e-12);
  EXPECT_EQ(both.reference_accuracy, alone.accuracy);
  EXPECT_LT(both.agreement, 1);
}

TEST(MultipleChoice, ReadsAndRefusesFiles) {
  const test::TempDirectory temp;
  const auto read = [&](const std::string& text) {
    temp.write("tasks", text);
    return read_questions(temp / "tasks");
  };
  const auto good = read("{\"prompt\":\"a\",\"choices\":[\" b\",\" c\"],\"answer\":1,\"kind\":\"x\"}\n\n"
                         "{\"prompt\":\"\",\"choices\":[\"b\",\"c\",\"d\"],\"answer\":0}");
  ASSERT_EQ(good.size(), 2u);
  EXPECT_EQ(good[0].choices[1], " c");
  EXPECT_EQ(good[0].answer, 1);
  for (const char* bad : {"", "\n\n", "[1]", "{", "{\"prompt\":\"a\",\"choices\":[\"b\"],\"answer\":0}",
                          "{\"prompt\":\"a\",\"choices\":[\"b\",\"c\"],\"answer\":2}",
                          "{\"prompt\":\"a\",\"choices\":[\"b\",\"c\"],\"answer\":-1}",
                          "{\"prompt\":\"a\",\"choices\":[\"b\",\"\"],\"answer\":0}",
                          "{\"prompt\":\"a\",\"choices\":[\"b\",3],\"answer\":0}",
                          "{\"prompt\":\"a\",\"choices\":[\"b\",\"c\"]}", "{\"choices\":[\"b\",\"c\"],\"answer\":0}"})
    error_of([&] { read(bad); }, ErrorCode::bad_input);
  const std::string message = error_of([&] { read("\n{\"prompt\":1}\n"); }, ErrorCode::bad_input);
  EXPECT_NE(message.find("line 2"), std::string::npos) << message;
}

// The trained length is 64.
TEST(MultipleChoice, LongPromptsAreCutFromTheLeft) {
  const DecoderModel model = tiny_model();
  const Tokenizer tokenizer = test::tiny_tokenizer();
  const std::vector<std::string> choices = {" the sun", " x", " another hen, why", " I", " 12"};
  Rng rng(4);
  std::vector<Question> questions;
  std::vector<size_t> lengths, cuts;
  std::vector<int64_t> answers;
  for (const size_t words : {4, 13, 20, 21, 24, 30, 35, 40}) {
    std::string prompt = "the";
    for (size_t i = 1; i < words; ++i) prompt += std::array{" hen", " ran", " in", " a", " sun,"}[rng.below(5)];
    questions.push_back({prompt, choices, 0});
    size_t longest = 0;
    for (const std::string& choice : choices) longest = std::max(longest, tokenizer.encode(prompt + choice, true, false).size());
    lengths.push_back(longest);
    cuts.push_back(longest > 65 ? longest - 65 : 0);  // the last token is scored, not run
    std::vector<double> scores;
    for (const std::string& choice : choices) scores.push_back(score_from_scratch(model, prompt, choice, cuts.back()));
    answers.push_back(std::max_element(scores.begin(), scores.end()) - scores.begin());
  }
  EXPECT_EQ(cuts[0], 0u);
  const ChoiceResult r = multiple_choice(model, tokenizer, questions);
  EXPECT_EQ(r.answers, answers);
  EXPECT_EQ(r.truncated, std::count_if(cuts.begin(), cuts.end(), [](size_t cut) { return cut > 0; }));
  EXPECT_GE(r.truncated, 5);
  DecoderModel shorter = tiny_model();
  shorter.spec.max_positions = 40;
  const ChoiceResult both = multiple_choice(model, tokenizer, questions, &shorter);
  EXPECT_EQ(both.truncated, std::count_if(lengths.begin(), lengths.end(), [](size_t length) { return length > 41; }));
  EXPECT_GT(both.truncated, r.truncated) << "both see what the shorter one can";
  EXPECT_EQ(both.agreement, 1) << "the same weights after the same prompts";
  const std::string message = error_of(
      [&] { multiple_choice(model, tokenizer, {{"the", {std::string(70, '1'), "3"}, 0}}); }, ErrorCode::bad_call);
  EXPECT_NE(message.find("64"), std::string::npos) << message;
}

TEST(MultipleChoice, IsCancelled) {
  const DecoderModel model = tiny_model();
  error_of([&] { multiple_choice(model, test::tiny_tokenizer(), kQuestions, nullptr, [](double, std::string_view) { return false; }); },
           ErrorCode::interrupted);
}

TEST(MultipleChoice, TokensThatAModelLacksAreRefused) {
  DecoderModel model = tiny_model();
  model.spec.vocab = 40;  // as where tokenizer and model are of different models
  const std::vector<Question> capital = {{"a hen and", {" the sun", " I"}, 0}};
  error_of([&] { multiple_choice(model, test::tiny_tokenizer(), capital); }, ErrorCode::bad_call);
  const DecoderModel whole = tiny_model();
  error_of([&] { multiple_choice(whole, test::tiny_tokenizer(), capital, &model); }, ErrorCode::bad_call);
}

TEST(MultipleChoice, IsCancelledWithinAQuestion) {
  const DecoderModel model = tiny_model();
  int calls = 0;
  error_of([&] { multiple_choice(model, test::tiny_tokenizer(), kQuestions, nullptr, [&](double, std::string_view) { return ++calls < 9; }); },
           ErrorCode::interrupted);
  EXPECT_EQ(calls, 9);  // of the first question: a choice has more steps than that
}

}  // namespace
}  // namespace codecllm
