// SPDX-License-Identifier: Apache-2.0
// What every scheme and algorithm costs a model: the tables of docs/accuracy.md. The first half of TEXT calibrates, the
// second is scored beside the 16-bit model, and the questions of TASKS are answered.
//
//   bench_methods MODEL TEXT [--tasks TASKS.jsonl] [--schemes a,b,..] [--algorithms a,b,..] [--samples N] [--tokens N]
//
// An algorithm may end in "/clip"; a scheme may be quantized without calibration by "/plain" (llm-int8/plain).
#include <fmt/core.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "base/clock.h"
#include "base/file.h"
#include "eval/multiple_choice.h"
#include "eval/perplexity.h"
#include "model/compute.h"
#include "model/model_tokenizer.h"
#include "quant/quantize.h"

using namespace codecllm;

namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string model, text, tasks;
  std::vector<std::string> schemes = {"int8", "int8-tensor", "int8-g128", "int4", "int4-g128", "int4-g32", "w8a8", "w8a8-tensor", "w8a8-static",
                                      "llm-int8", "llm-int8/plain", "fp8", "fp8-channel", "fp8-block", "fp8-e5m2"};
  std::vector<std::string> algorithms = {"rtn", "rtn/clip", "gptq", "awq", "smoothquant"};
  int64_t samples = 64, tokens = 0;
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

// Characters that no 8-bit encoding splits: cut at a line's end.
std::pair<std::string, std::string> halves(const std::string& text) {
  const size_t middle = text.find('\n', text.size() / 2);
  return {text.substr(0, middle), middle == std::string::npos ? "" : text.substr(middle + 1)};
}

class Table {
 public:
  Table(const Arguments& arguments, const std::string& scratch)
      : arguments_(arguments), scratch_(scratch), source_(load_model(context_, arguments.model)), tokenizer_(load_tokenizer(arguments.model)) {
    const auto [first, second] = halves(read_file(arguments.text));
    write_file_atomically(scratch_ + "/calibrate.txt", first);
    tokens_ = tokenizer_.encode(second, true, false);
    if (arguments.tokens > 0 && static_cast<int64_t>(tokens_.size()) > arguments.tokens) tokens_.resize(static_cast<size_t>(arguments.tokens));
    if (!arguments.tasks.empty()) questions_ = read_questions(arguments.tasks);
    fmt::print("| scheme | algorithm | compute | bits/weight | SQNR dB | perplexity | ratio | KL | accuracy | calibration s |\n|---|---|---|---|---|---|---|---|---|---|\n");
    fmt::print("| the original | | a16 | {} | | {:.4f} | 1 | 0 | {} | |\n", source_.scheme,
               perplexity(source_, tokens_, {}).perplexity, accuracy(source_));
  }

  void add(std::string scheme, std::string algorithm) {
    const std::string shown_scheme = scheme, shown_algorithm = algorithm, out = scratch_ + "/model";
    const bool plain = take_ending(scheme, "/plain");
    QuantizeOptions options = {.scheme = scheme_preset(scheme)};
    options.force = true;
    options.algorithm.clip = take_ending(algorithm, "/clip");
    options.algorithm.name = algorithm;
    if (!plain) options.algorithm.calibration = {.text = scratch_ + "/calibrate.txt", .samples = arguments_.samples};
    // Rounds to the nearest in this version.
    if (options.scheme.activations && options.scheme.activations->outliers && (algorithm != "rtn" || options.algorithm.clip)) return;
    fs::remove_all(out);
    const QuantizeResult made = quantize_checkpoint(context_, arguments_.model, out, options);
    double signal = 0, noise = 0;  // of layers, each counted by its weights
    for (const LayerReport& layer : made.layers) {
      signal += static_cast<double>(layer.weights);
      noise += static_cast<double>(layer.weights) * std::pow(10, -layer.sqnr_db / 10);
    }
    const DecoderModel model = load_model(context_, out);
    const PerplexityResult r = perplexity(model, tokens_, {}, &source_);
    fmt::print("| `{}` | {} | {} | {:.3f} | {:.2f} | {:.4f} | {:.5f} | {:.5f} | {} | {} |\n", shown_scheme, shown_algorithm, compute_of(model.weights),
               made.bits_per_weight, 10 * std::log10(signal / noise), r.perplexity, r.perplexity / r.reference_perplexity, r.kl_mean, accuracy(model),
               made.calibration_seconds > 0 ? fmt::format("{:.1f}", made.calibration_seconds) : "");
    std::fflush(stdout);
  }

 private:
  std::string accuracy(const DecoderModel& model) const {
    return questions_.empty() ? "" : fmt::format("{:.2f} %", 100 * multiple_choice(model, tokenizer_, questions_).accuracy);
  }

  const Arguments& arguments_;
  const std::string scratch_;
  const Context context_;
  const DecoderModel source_;
  const Tokenizer tokenizer_;
  std::vector<int32_t> tokens_;
  std::vector<Question> questions_;
};

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
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
    if (word == "--samples") arguments.samples = std::atoll(value.c_str());
    if (word == "--tokens") arguments.tokens = std::atoll(value.c_str());
  }
  if (places.size() != 2) {
    fmt::print(stderr, "usage: bench_methods MODEL TEXT [--tasks TASKS.jsonl] [--schemes a,b] [--algorithms a,b] [--samples N] [--tokens N]\n");
    return 2;
  }
  arguments.model = places[0];
  arguments.text = places[1];
  std::string scratch = fs::temp_directory_path() / "codecllm-methods-XXXXXX";
  if (mkdtemp(scratch.data()) == nullptr) {
    fmt::print(stderr, "no temporary directory\n");
    return 1;
  }
  int code = 0;
  try {
    Table table(arguments, scratch);
    for (const std::string& scheme : arguments.schemes)
      for (const std::string& algorithm : arguments.algorithms) table.add(scheme, algorithm);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    code = 1;
  }
  fs::remove_all(scratch);
  return code;
}
