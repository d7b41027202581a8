// SPDX-License-Identifier: Apache-2.0
// What every scheme and algorithm costs a model: the tables of docs/accuracy.md. The first half of TEXT calibrates, the
// second is scored beside the 16-bit model, and the questions of TASKS are answered. Of further models, perplexity's ratio,
// KL and accuracy follow in the same row.
//
//   bench_methods MODEL TEXT [MODEL TEXT ..] [--tasks TASKS.jsonl] [--questions N] [--schemes a,b,..] [--algorithms a,b,..]
//                 [--samples N] [--tokens N] [--threads N] [--latency ROUNDS]
//
// An algorithm may end in "/clip"; a scheme in "/plain", which leaves calibration out (llm-int8/plain), or in the observer of
// static scales (w8a8-static/mse). A row comes as soon as it is known; with --latency, which adds the seconds of calibration
// and times that all models of the table take in turns, at the end.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <sstream>

#include "base/clock.h"
#include "base/file.h"
#include "eval/multiple_choice.h"
#include "eval/perplexity.h"
#include "gen/measure.h"
#include "model/compute.h"
#include "model/model_tokenizer.h"
#include "quant/quantize.h"

using namespace codecllm;

namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::vector<std::pair<std::string, std::string>> models;  // directory, text
  std::string tasks;
  std::vector<std::string> schemes, algorithms = {"rtn", "rtn/clip", "gptq", "awq", "smoothquant"};
  int64_t samples = 64, tokens = 0, questions = 0, threads = 0, latency = 0;
};

std::vector<std::string> words(const std::string& list) {
  std::vector<std::string> out;
  std::stringstream stream(list);
  for (std::string word; std::getline(stream, word, ',');) out.push_back(word);
  return out;
}

bool take_ending(std::string& text, std::string_view ending) {
  const bool found = text.ends_with(ending);
  if (found) text.resize(text.size() - ending.size());
  return found;
}

std::string before_slash(const std::string& name) { return name.substr(0, name.find('/')); }

// Characters that no 8-bit encoding splits: cut at a line's end.
std::pair<std::string, std::string> halves(const std::string& text) {
  const size_t middle = text.find('\n', text.size() / 2);
  return {text.substr(0, middle), middle == std::string::npos ? "" : text.substr(middle + 1)};
}

// What a scheme and an algorithm make of a model.
struct Outcome {
  std::string refused;  // a word: why there is none
  bool fitted = false;  // some rows are not divided as the scheme says
  std::string compute;
  double bits_per_weight = 0, sqnr = 0, calibration_seconds = 0;
  PerplexityResult text;
  std::vector<int64_t> answers;
  double accuracy = 0;
};

// Milliseconds in turns with the other models.
struct Timed {
  DecoderModel model;
  std::vector<double> prompt, token;  // 512 tokens; one token
};

class Subject {
 public:
  Subject(const Context& context, const Arguments& arguments, const std::string& model, const std::string& text, const std::string& scratch)
      : context_(context), arguments_(arguments), directory_(model), scratch_(scratch), source_(load_model(context, model)), tokenizer_(load_tokenizer(model)) {
    const auto [first, second] = halves(read_file(text));
    fs::create_directory(scratch_);
    write_file_atomically(scratch_ + "/calibrate.txt", first);
    tokens_ = tokenizer_.encode(second, true, false);
    if (arguments.tokens > 0 && static_cast<int64_t>(tokens_.size()) > arguments.tokens) tokens_.resize(static_cast<size_t>(arguments.tokens));
  }

  void ask(std::vector<Question> questions) { questions_ = std::move(questions); }

  Outcome original() const {
    Outcome out = {.compute = "a16", .bits_per_weight = static_cast<double>(dtype_bits(scheme_preset(source_.scheme).plain))};
    out.text = perplexity(source_, tokens_, whole_windows());
    answer(source_, out);
    return out;
  }
  bool asks() const { return !questions_.empty(); }

  // With `keep`, the model goes there, too.
  Outcome make(const std::string& scheme, std::string algorithm, std::deque<Timed>* keep) const {
    const std::string out = scratch_ + "/model";
    QuantizeOptions options = {.scheme = scheme_preset(before_slash(scheme))};
    options.force = true;
    options.algorithm.clip = take_ending(algorithm, "/clip");
    options.algorithm.name = algorithm;
    if (!scheme.ends_with("/plain")) options.algorithm.calibration = {.text = scratch_ + "/calibrate.txt", .samples = arguments_.samples};
    for (const std::string& observer : observer_names())
      if (scheme.ends_with("/" + observer)) options.algorithm.calibration.observer.name = observer;
    fs::remove_all(out);
    Outcome result;
    QuantizeResult made;
    try {
      made = quantize_checkpoint(context_, directory_, out, options);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::unsupported && error.code() != ErrorCode::bad_call) throw;
      fmt::print(stderr, "{}\n", error.what());
      result.refused = error.code() == ErrorCode::unsupported ? "unsupported" : "refused";
      return result;
    }
    double signal = 0, noise = 0;  // of layers, each counted by its weights
    for (const LayerReport& layer : made.layers) {
      signal += static_cast<double>(layer.weights);
      noise += static_cast<double>(layer.weights) * std::pow(10, -layer.sqnr_db / 10);
      result.fitted = result.fitted || layer.scheme != scheme_text(*options.scheme.weights);
    }
    DecoderModel model = load_model(context_, out);
    result.compute = compute_of(model.weights);
    result.bits_per_weight = made.bits_per_weight;
    result.sqnr = 10 * std::log10(signal / noise);
    result.calibration_seconds = made.calibration_seconds;
    result.text = perplexity(model, tokens_, whole_windows(), &source_);
    answer(model, result);
    if (keep != nullptr) keep->push_back({std::move(model), {}, {}});
    return result;
  }

 private:
  // Windows that do not overlap: half the time of the default.
  PerplexityOptions whole_windows() const { return {.stride = std::min<int64_t>(2048, source_.spec.max_positions)}; }

  void answer(const DecoderModel& model, Outcome& out) const {
    if (questions_.empty()) return;
    const ChoiceResult chosen = multiple_choice(model, tokenizer_, questions_);
    out.answers = chosen.answers;
    out.accuracy = chosen.accuracy;
  }

  const Context& context_;
  const Arguments& arguments_;
  const std::string directory_, scratch_;
  const DecoderModel source_;
  const Tokenizer tokenizer_;
  std::vector<int32_t> tokens_;
  std::vector<Question> questions_;
};

class Table {
 public:
  Table(const Arguments& arguments, const std::string& scratch) : arguments_(arguments), context_({.threads = static_cast<int>(arguments.threads)}) {
    for (const auto& [model, text] : arguments.models)
      subjects_.emplace_back(context_, arguments, model, text, scratch + "/" + std::to_string(subjects_.size()));
    if (!arguments.tasks.empty()) {
      std::vector<Question> questions = read_questions(arguments.tasks);
      if (arguments.questions > 0 && static_cast<int64_t>(questions.size()) > arguments.questions) questions.resize(static_cast<size_t>(arguments.questions));
      for (Subject& subject : subjects_) subject.ask(questions);
    }
    print_head();
  }

  void fill() {
    original_ = subjects_.front().original();
    if (arguments_.latency > 0) timed_.push_back({load_model(context_, arguments_.models.front().first), {}, {}});
    add_row(fmt::format("| the original | | a16 | {} | | {:.4f} | 1 | 0 |", original_.bits_per_weight, original_.text.perplexity) + answers_of(original_) + further([](const Subject& subject) {
              const Outcome other = subject.original();
              return fmt::format(" 1 (perplexity {:.4f}) | 0 |", other.text.perplexity) + accuracy_of(other);
            }), original_);
    std::vector<std::pair<std::string, std::string>> rows;
    for (const std::string& scheme : arguments_.schemes)
      for (const std::string& algorithm : arguments_.algorithms)  // plain numbers have no codes to find
        if (scheme_preset(before_slash(scheme)).weights || algorithm == arguments_.algorithms.front()) rows.emplace_back(scheme, algorithm);
    const Stopwatch clock;
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto& [scheme, algorithm] = rows[i];
      fmt::print(stderr, "{} of {}: {} {}; {:.0f} s so far{}\n", i + 1, rows.size(), scheme, algorithm, clock.seconds(),
                 i > 0 ? fmt::format(", {:.0f} to go", clock.seconds() / static_cast<double>(i) * static_cast<double>(rows.size() - i)) : "");
      add(scheme, algorithm);
    }
    if (arguments_.latency > 0) measure();
  }

 private:
  static constexpr int64_t kPrompt = 512;

  void print_head() const {
    std::string head = "| scheme | algorithm | compute | bits/weight | SQNR dB | perplexity | ratio | KL |";
    if (subjects_.front().asks()) head += " accuracy | same answers |";
    for (size_t i = 1; i < subjects_.size(); ++i) {
      const std::string name = fs::path(arguments_.models[i].first).filename();
      head += fmt::format(" {0}: ratio | {0}: KL |", name) + (subjects_[i].asks() ? fmt::format(" {}: accuracy |", name) : "");
    }
    if (arguments_.latency > 0) head += fmt::format(" calibration s | prompt of {}, ms | token, ms |", kPrompt);
    std::string rule = "|";
    for (const char c : head.substr(1)) rule += c == '|' ? "---|" : "";
    fmt::print("{}\n{}\n", head, rule);
  }

  // Where times are asked for, a row waits for them.
  void add_row(std::string row, const Outcome& made) {
    if (arguments_.latency > 0) {
      if (made.refused.empty()) row += made.calibration_seconds >= 0.05 ? fmt::format(" {:.1f} |", made.calibration_seconds) : " |";
      rows_.emplace_back(std::move(row), made.refused.empty());
      return;
    }
    fmt::print("{}\n", row);
    std::fflush(stdout);
  }

  void add(const std::string& scheme, const std::string& algorithm) {
    const Outcome made = subjects_.front().make(scheme, algorithm, arguments_.latency > 0 ? &timed_ : nullptr);
    std::string row = fmt::format("| `{}` | {} |", scheme, scheme_preset(before_slash(scheme)).weights ? algorithm : "");
    if (!made.refused.empty()) {
      row += fmt::format(" {} | | | | | |", made.refused) + (subjects_.front().asks() ? " | |" : "");
    } else {
      row += fmt::format(" {} | {:.3f}{} | {} | {:.4f} | {:.5f} | {:.5f} |", made.compute, made.bits_per_weight, made.fitted ? " fitted" : "",
                         std::isnan(made.sqnr) ? "" : fmt::format("{:.2f}", made.sqnr), made.text.perplexity, ratio(made), made.text.kl_mean);
      row += answers_of(made);
    }
    add_row(row + further([&](const Subject& subject) {
              const Outcome other = subject.make(scheme, algorithm, nullptr);
              if (!other.refused.empty()) return fmt::format(" {} | |", other.refused) + (subject.asks() ? " |" : "");
              return fmt::format(" {:.5f}{} | {:.5f} |", ratio(other), other.fitted ? " fitted" : "", other.text.kl_mean) + accuracy_of(other);
            }), made);
  }

  static double ratio(const Outcome& made) { return made.text.perplexity / made.text.reference_perplexity; }

  static std::string accuracy_of(const Outcome& made) { return made.answers.empty() ? "" : fmt::format(" {:.1f} % |", 100 * made.accuracy); }

  std::string answers_of(const Outcome& made) const {
    if (made.answers.empty()) return "";
    double same = 0;
    for (size_t i = 0; i < made.answers.size(); ++i) same += made.answers[i] == original_.answers[i] ? 1 : 0;
    return accuracy_of(made) + fmt::format(" {:.1f} % |", 100 * same / static_cast<double>(made.answers.size()));
  }

  template <class Cells>
  std::string further(const Cells& cells) const {
    std::string row;
    for (size_t i = 1; i < subjects_.size(); ++i) row += cells(subjects_[i]);
    return row;
  }

  void measure() {
    for (int64_t round = 0; round < arguments_.latency; ++round) {
      fmt::print(stderr, "latency: round {} of {}\n", round + 1, arguments_.latency);
      for (Timed& timed : timed_) {
        const Measurement m = Measurer(timed.model, {.prompt_tokens = kPrompt, .decode_tokens = 64, .batches = {}}).round();
        timed.prompt.push_back(1e3 * static_cast<double>(kPrompt) / m.prefill_tok_s);
        timed.token.push_back(1e3 / m.decode_tok_s);
      }
    }
    auto timed = timed_.begin();
    for (const auto& [row, has] : rows_) {
      if (!has) {
        fmt::print("{} | | |\n", row);
        continue;
      }
      fmt::print("{} {:.1f} | {:.3f} |\n", row, median(timed->prompt), median(timed->token));
      ++timed;
    }
  }

  const Arguments& arguments_;
  const Context context_;
  std::deque<Subject> subjects_;
  Outcome original_;
  std::deque<Timed> timed_;
  std::vector<std::pair<std::string, bool>> rows_;  // and whether its model is among those timed
};

Arguments read_arguments(int argc, char** argv) {
  Arguments arguments;
  for (const QuantScheme& preset : scheme_presets()) {
    arguments.schemes.push_back(preset.name);
    if (preset.name == "llm-int8") arguments.schemes.push_back("llm-int8/plain");
  }
  std::vector<std::string> places;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
    if (!word.starts_with("--")) {
      places.push_back(word);
      continue;
    }
    ++i;
    if (word == "--tasks") arguments.tasks = value;
    if (word == "--schemes") arguments.schemes = words(value);
    if (word == "--algorithms") arguments.algorithms = words(value);
    for (const auto& [name, number] : {std::pair{"--samples", &arguments.samples}, {"--tokens", &arguments.tokens}, {"--questions", &arguments.questions},
                                       {"--threads", &arguments.threads}, {"--latency", &arguments.latency}})
      if (word == name) *number = std::atoll(value.c_str());
  }
  for (size_t i = 0; i + 1 < places.size(); i += 2) arguments.models.emplace_back(places[i], places[i + 1]);
  if (places.size() % 2 != 0) arguments.models.clear();
  return arguments;
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = read_arguments(argc, argv);
  if (arguments.models.empty()) {
    fmt::print(stderr, "usage: bench_methods MODEL TEXT [MODEL TEXT ..] [--tasks TASKS.jsonl] [--questions N] [--schemes a,b] [--algorithms a,b]\n"
                       "                     [--samples N] [--tokens N] [--threads N] [--latency ROUNDS]\n");
    return 2;
  }
  std::string scratch = fs::temp_directory_path() / "codecllm-methods-XXXXXX";
  if (mkdtemp(scratch.data()) == nullptr) {
    fmt::print(stderr, "no temporary directory\n");
    return 1;
  }
  int code = 0;
  try {
    Table(arguments, scratch).fill();
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    code = 1;
  }
  fs::remove_all(scratch);
  return code;
}
