// SPDX-License-Identifier: Apache-2.0
// Multiple choice: the answer is the choice that a model finds likeliest after the prompt.
#pragma once

#include <string>
#include <vector>

#include "model/forward.h"
#include "text/tokenizer.h"

namespace codecllm {

struct Question {
  std::string prompt;
  std::vector<std::string> choices;  // each continues the prompt, its leading space included
  int64_t answer = 0;                // index of the right one
};

// One JSON object a line: prompt, choices (two or more), answer; other keys and empty lines are passed over. Throws
// Error(bad_input) that names the line.
std::vector<Question> read_questions(const std::string& path);

struct ChoiceResult {
  double accuracy = 0;   // share of right answers
  double stderr_ = 0;    // of the accuracy: sqrt(a (1 - a) / (n - 1))
  int64_t n = 0;
  int64_t truncated = 0;  // questions whose prompt was cut
  bool compared = false;
  double reference_accuracy = 0;
  double agreement = 0;             // share of questions that model and reference answer alike
  std::vector<int64_t> answers;     // the model's, one a question
};

// A choice's score is the sum of its tokens' log-probabilities after the prompt, divided by its bytes of UTF-8, so that
// scores do not depend on how a tokenizer splits (acc_norm of EleutherAI's evaluation harness). The prompt is run once
// for all choices. Where a question is longer than the trained length (of the shorter of the two models), the prompt loses
// as many tokens from the left as its longest choice needs, the begin-of-text token first, as in that harness; never the
// choice. Throws Error(bad_call) where a choice alone is too long, Error(bad_input) where a score is not finite.
ChoiceResult multiple_choice(const DecoderModel& model, const Tokenizer& tokenizer, const std::vector<Question>& questions,
                             const DecoderModel* reference = nullptr, const Progress& progress = {});

}  // namespace codecllm
