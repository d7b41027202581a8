// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <optional>

#include "cli/loaded.h"
#include "eval/multiple_choice.h"
#include "model/compute.h"

namespace codecllm::cli {

void add_evaluate(CLI::App& app, Globals& globals) {
  struct Arguments {
    std::string model, tasks, reference;
    ModelOptions held;
  };
  auto a = std::make_shared<Arguments>();
  CLI::App& command = add_command(app, globals, "evaluate", "Multiple choice: how often a model finds the right answer likeliest", [&globals, a] {
    const auto context = globals.context();
    const std::vector<Question> questions = read_questions(a->tasks);
    const Loaded loaded = load(*context, globals, a->model, a->held);
    std::optional<Loaded> reference;
    if (!a->reference.empty()) {
      reference = load_reference(*context, globals, a->reference, a->held);
      if (reference->tokenizer.encode(questions[0].prompt, true, false) != loaded.tokenizer.encode(questions[0].prompt, true, false))
        throw Error(ErrorCode::bad_call, "evaluate", "model and reference split the text into different tokens", {.file = a->reference});
    }
    const ChoiceResult r = multiple_choice(loaded.model, loaded.tokenizer, questions, reference ? &reference->model : nullptr, globals.progress());
    OrderedJson out = {{"accuracy", r.accuracy}, {"stderr", r.stderr_}, {"n", r.n}, {"truncated", r.truncated}, {"compute", compute_of(loaded.model.weights)}};
    if (r.compared) out.update({{"reference_accuracy", r.reference_accuracy}, {"agreement", r.agreement}});
    if (r.truncated > 0)
      note(globals, fmt::format("{} of {} questions are longer than the trained length; their prompts were cut from the left", r.truncated, r.n));
    if (loaded.cache) out["decode_cache"] = decode_cache_json(*loaded.cache);
    if (globals.json) {
      globals.print_json("evaluate", out);
    } else {
      fmt::print("accuracy {:.2f}% (+- {:.2f}) over {} questions, compute {}\n", 100 * r.accuracy, 100 * r.stderr_, r.n, compute_of(loaded.model.weights));
      if (r.compared)
        fmt::print("reference {:.2f}%; same answer {:.2f}%\n", 100 * r.reference_accuracy, 100 * r.agreement);
    }
    return 0;
  });
  command.add_option("model", a->model, "Model directory or .gguf file")->required();
  command.add_option("--tasks", a->tasks, "A .jsonl file: prompt, choices and answer (an index) on every line")->required()->check(CLI::ExistingFile);
  add_model_options(command, a->held);
  command.add_option("--reference", a->reference, "Also how often this model gives the same answer");
}

}  // namespace codecllm::cli
