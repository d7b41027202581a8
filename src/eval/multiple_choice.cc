// SPDX-License-Identifier: Apache-2.0
#include "eval/multiple_choice.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <sstream>

#include "base/file.h"
#include "eval/rolling.h"
#include "model/model_tokenizer.h"

namespace codecllm {

namespace {

Question read_question(const Json& json, const std::string& place) {
  const auto bad = [&](const std::string& what) { throw Error(ErrorCode::bad_input, "tasks", what, {.file = place}); };
  if (!json.is_object()) bad("expected one JSON object a line");
  Question question = {.prompt = json_need<std::string>(json, "prompt", place)};
  const auto choices = json.find("choices");
  if (choices == json.end() || !choices->is_array() || choices->size() < 2)
    bad("key 'choices' must be a list of two or more texts");
  for (const Json& choice : *choices) {
    if (!choice.is_string() || choice.get_ref<const std::string&>().empty()) bad("a choice must be a text that is not empty");
    question.choices.push_back(choice.get<std::string>());
  }
  question.answer = json_need<int64_t>(json, "answer", place);
  if (question.answer < 0 || question.answer >= static_cast<int64_t>(question.choices.size()))
    bad("key 'answer' must be the index of a choice, 0 to " + std::to_string(question.choices.size() - 1));
  return question;
}

// A question as tokens: prompt and choice are split together, since the split before a choice may depend on it.
struct TokenizedQuestion {
  std::vector<std::vector<int32_t>> texts;  // one a choice
  std::vector<double> bytes;
  size_t shared = 0;  // tokens that all texts begin with, before the first that is scored
  size_t first = 0;   // first token of the choice
  bool truncated = false;
};

// Leaves `limit` positions and the last token, which is scored but not run. All choices lose the same tokens, so that they
// are compared after the same prompt.
void cut_prompt(TokenizedQuestion& question, size_t number, int64_t limit) {
  size_t longest = 0;
  for (const auto& text : question.texts) longest = std::max(longest, text.size());
  const size_t room = static_cast<size_t>(limit) + 1;
  if (longest <= room) return;
  const size_t cut = longest - room;
  if (cut >= question.first)
    throw Error(ErrorCode::bad_call, "evaluate",
                "question " + std::to_string(number) + " has a choice of " + std::to_string(longest - question.first) +
                    " tokens, and the model was trained on " + std::to_string(limit) + "; leave it out");
  for (auto& text : question.texts) text.erase(text.begin(), text.begin() + static_cast<ptrdiff_t>(cut));
  question.first -= cut;
  question.truncated = true;
}

TokenizedQuestion tokenize(const Tokenizer& tokenizer, const Question& question, size_t number, int64_t limit) {
  TokenizedQuestion out;
  out.first = tokenizer.encode(question.prompt, true, false).size();
  for (const std::string& choice : question.choices) {
    out.texts.push_back(tokenizer.encode(question.prompt + choice, true, false));
    out.bytes.push_back(static_cast<double>(choice.size()));
    out.first = std::min(out.first, out.texts.back().size() - 1);  // a choice that merges with the prompt's end is scored by its last token
  }
  out.first = std::max<size_t>(out.first, 1);
  cut_prompt(out, number, limit);
  out.shared = out.first - 1;
  for (const auto& text : out.texts) {
    if (text.size() < 2) throw Error(ErrorCode::bad_call, "evaluate", "question " + std::to_string(number) + " is too short to score");
    const auto end = std::mismatch(text.begin(), text.begin() + static_cast<ptrdiff_t>(std::min(out.shared, text.size())),
                                   out.texts[0].begin(), out.texts[0].end()).first;
    out.shared = std::min(out.shared, static_cast<size_t>(end - text.begin()));
  }
  return out;
}

class Examinee {
 public:
  explicit Examinee(const DecoderModel& model)
      : vocab_(model.spec.vocab), state_(model, model.spec.max_positions) {}

  // The likeliest choice; the first of equals.
  int64_t answer(const TokenizedQuestion& question, size_t number, const std::function<bool()>& asked) {
    for (const auto& text : question.texts) check_tokens(text, vocab_);
    const auto first = static_cast<int64_t>(question.first);
    state_.keep(0);
    state_.run(std::span(question.texts[0]).first(question.shared), first, asked);  // scores nothing: shared < first
    int64_t best = 0;
    double best_score = 0;
    for (size_t c = 0; c < question.texts.size(); ++c) {
      const std::vector<int32_t>& text = question.texts[c];
      state_.keep(static_cast<int64_t>(question.shared));
      // Row i predicts token i + 1, so the last token need not run.
      const auto logits = state_.run(std::span(text).first(text.size() - 1).subspan(question.shared), first - 1, asked);
      double score = 0;
      for (size_t i = question.first; i < text.size(); ++i) {
        const float* row = &logits[(i - question.first) * static_cast<size_t>(vocab_)];
        int64_t likeliest = 0;
        score += row[text[i]] - log_sum_exp(row, vocab_, &likeliest);
      }
      score /= question.bytes[c];
      if (!std::isfinite(score))
        throw Error(ErrorCode::bad_input, "evaluate",
                    "question " + std::to_string(number) + ": the model computes values that are not finite");
      if (c == 0 || score > best_score) best = static_cast<int64_t>(c), best_score = score;
    }
    return best;
  }

 private:
  const int64_t vocab_;
  RollingModel state_;
};

}  // namespace

std::vector<Question> read_questions(const std::string& path) {
  std::istringstream lines(read_file(path));
  std::vector<Question> questions;
  std::string line;
  for (int64_t number = 1; std::getline(lines, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string place = path + " line " + std::to_string(number);
    questions.push_back(read_question(parse_json(line, place), place));
  }
  if (questions.empty()) throw Error(ErrorCode::bad_input, "tasks", "there is no question", {.file = path});
  return questions;
}

ChoiceResult multiple_choice(const DecoderModel& model, const Tokenizer& tokenizer, const std::vector<Question>& questions,
                             const DecoderModel* reference, const Progress& progress) {
  Examinee examinee(model);
  std::optional<Examinee> other;
  if (reference != nullptr) other.emplace(*reference);
  int64_t limit = model.spec.max_positions;
  if (reference != nullptr) limit = std::min(limit, reference->spec.max_positions);
  ChoiceResult result;
  int64_t right = 0, reference_right = 0, alike = 0;
  for (size_t i = 0; i < questions.size(); ++i) {
    const auto asked = [&] { return !progress || progress(static_cast<double>(i) / static_cast<double>(questions.size()), "answering"); };
    const TokenizedQuestion question = tokenize(tokenizer, questions[i], i + 1, limit);
    result.truncated += question.truncated ? 1 : 0;
    result.answers.push_back(examinee.answer(question, i + 1, asked));
    right += result.answers.back() == questions[i].answer ? 1 : 0;
    if (other) {
      const int64_t theirs = other->answer(question, i + 1, asked);
      reference_right += theirs == questions[i].answer ? 1 : 0;
      alike += theirs == result.answers.back() ? 1 : 0;
    }
    if (progress && !progress(static_cast<double>(i + 1) / static_cast<double>(questions.size()), "answering"))
      throw Error(ErrorCode::interrupted, "evaluate", "interrupted");
  }
  const auto n = static_cast<double>(questions.size());
  result.n = static_cast<int64_t>(questions.size());
  result.accuracy = static_cast<double>(right) / n;
  result.stderr_ = n > 1 ? std::sqrt(result.accuracy * (1 - result.accuracy) / (n - 1)) : 0;
  result.compared = reference != nullptr;
  result.reference_accuracy = static_cast<double>(reference_right) / n;
  result.agreement = static_cast<double>(alike) / n;
  return result;
}

}  // namespace codecllm
