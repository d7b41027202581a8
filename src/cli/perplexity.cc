// SPDX-License-Identifier: Apache-2.0
#include "eval/perplexity.h"

#include <fmt/core.h>

#include <optional>

#include "base/file.h"
#include "cli/loaded.h"
#include "model/compute.h"

namespace codecllm::cli {

void add_perplexity(CLI::App& app, Globals& globals) {
  struct Arguments {
    std::string model, text, reference, kv = "f16";
    ModelOptions held;
    PerplexityOptions options;
  };
  auto a = std::make_shared<Arguments>();
  CLI::App& command = add_command(app, globals, "perplexity", "How well a model predicts a text, alone or beside a reference", [&globals, a] {
    const auto context = globals.context();
    a->options.kv = kv_type(a->kv);
    const std::string text = read_file(a->text);
    const Loaded loaded = load(*context, globals, a->model, a->held);
    const std::vector<int32_t> tokens = loaded.tokenizer.encode(text, true, false);
    std::optional<Loaded> reference;
    if (!a->reference.empty()) {
      reference = load_reference(*context, globals, a->reference, a->held);
      if (reference->tokenizer.encode(text, true, false) != tokens)
        throw Error(ErrorCode::bad_call, "perplexity", "model and reference split the text into different tokens", {.file = a->reference});
    }
    if (a->options.context > loaded.model.spec.max_positions)
      note(globals, fmt::format("windows of {} tokens are longer than the {} that the model was trained with", a->options.context, loaded.model.spec.max_positions));
    const PerplexityResult r = perplexity(loaded.model, tokens, a->options, reference ? &reference->model : nullptr, globals.progress());
    OrderedJson out = {{"perplexity", r.perplexity}, {"nll", r.nll}, {"tokens", r.tokens}, {"compute", compute_of(loaded.model.weights)}, {"kv", a->kv},
                       {"logits_finite", r.logits_finite}, {"loss_finite", r.loss_finite}};
    if (r.compared)
      out.update({{"reference_perplexity", r.reference_perplexity}, {"ratio", r.perplexity / r.reference_perplexity},
                  {"kl_mean", r.kl_mean}, {"kl_p99", r.kl_p99}, {"top1_agreement", r.top1_agreement}, {"reference_finite", r.reference_finite}});
    if (loaded.cache) out["decode_cache"] = decode_cache_json(*loaded.cache);
    if (globals.json) {
      globals.print_json("perplexity", out);
    } else {
      fmt::print("perplexity {:.4f} over {} tokens, compute {}\n", r.perplexity, r.tokens, compute_of(loaded.model.weights));
      if (r.compared)
        fmt::print("reference  {:.4f}, ratio {:.5f}; KL mean {:.6f}, 99% below {:.6f}; same first choice {:.2f}%\n",
                   r.reference_perplexity, r.perplexity / r.reference_perplexity, r.kl_mean, r.kl_p99, 100 * r.top1_agreement);
    }
    const auto sick = [](const std::string& which) {
      return Error(ErrorCode::bad_input, "perplexity", "the model computes values that are not finite; `codecllm inspect` looks for damaged weights", {.file = which});
    };
    if (!r.logits_finite || !r.loss_finite) throw sick(a->model);
    if (!r.reference_finite) throw sick(a->reference);
    return 0;
  });
  command.add_option("model", a->model, "Model directory or .gguf file")->required();
  command.add_option("--text", a->text, "A text file")->required()->check(CLI::ExistingFile);
  command.add_option("--context", a->options.context, "Tokens of a window (default: 2048, or the trained length)")->check(CLI::Range(int64_t{2}, int64_t{1} << 20));
  command.add_option("--stride", a->options.stride, "Tokens from window to window (default: half the context)")->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  command.add_flag("--decode-loop", a->options.decode_loop, "One token at a time through the KV cache, as generation runs");
  add_kv(command, a->kv);
  add_model_options(command, a->held);
  command.add_option("--reference", a->reference, "Also KL divergence and agreement against this model");
}

}  // namespace codecllm::cli
