// SPDX-License-Identifier: Apache-2.0
#include "quant/verify.h"

#include <fmt/core.h>

#include <optional>

#include "cli/command.h"
#include "io/quant_config.h"

namespace codecllm::cli {

void add_verify(CLI::App& app, Globals& globals) {
  struct Arguments {
    std::string model, reference;
  };
  auto a = std::make_shared<Arguments>();
  CLI::App& command = add_command(app, globals, "verify", "Reads every tensor and checks it, also against the original", [&globals, a] {
    const auto context = globals.context();
    const Checkpoint checkpoint(a->model);
    const std::optional<Checkpoint> reference = a->reference.empty() ? std::nullopt : std::optional<Checkpoint>(a->reference);
    if (reference && !QuantConfig::read(reference->config(), reference->config_path()).method().empty())
      throw Error(ErrorCode::bad_call, "verify", "the reference is quantized itself; give the 16-bit model that both come from", {.file = a->reference});
    const VerifyResult result = verify(*context, checkpoint, reference ? &*reference : nullptr, globals.progress());
    if (result.unlike_reference)
      throw Error(ErrorCode::bad_call, "verify", fmt::format("none of its quantized layers is like those of {}: give as --reference the model that it was made from", a->reference),
                  {.file = a->model});
    if (globals.json) {
      OrderedJson layers = OrderedJson::array();
      for (const LayerReport& layer : result.layers) {
        OrderedJson row = {{"name", layer.name}, {"scheme", layer.scheme}};
        if (reference) row.update({{"sqnr_db", layer.sqnr_db}, {"max_abs_error", layer.max_abs_error}});
        layers.push_back(row);
      }
      globals.print_json("verify", {{"tensors", result.tensors}, {"bytes", result.bytes}, {"checksums", result.checksums}, {"bad", result.bad}, {"unlike", result.unlike}, {"layers", layers}});
    } else {
      for (const std::string& bad : result.bad) fmt::print("BAD {}\n", bad);
      fmt::print("{} tensors, {}, {} bad; {}\n", result.tensors, bytes_text(static_cast<double>(result.bytes)), result.bad.size(),
                 result.checksums > 0 ? fmt::format("{} held against their checksums", result.checksums)
                                      : "no checksums are stored with this model, so only shapes and values were looked at");
      if (!result.bad.empty() && result.unlike == static_cast<int64_t>(result.bad.size()))
        fmt::print("This model does not tell how it was made. Where `convert` made it of a quantized one, or AWQ or SmoothQuant moved factors from norms into "
                   "layers, tensors differ without being damaged; `codecllm perplexity --reference` says what that costs.\n");
    }
    return result.bad.empty() ? 0 : 1;
  });
  command.add_option("model", a->model, "Model directory or .gguf file")->required();
  command.add_option("--reference", a->reference, "The 16-bit model it was made from");
}

}  // namespace codecllm::cli
