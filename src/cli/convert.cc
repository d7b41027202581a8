// SPDX-License-Identifier: Apache-2.0
#include "quant/convert.h"

#include <fmt/core.h>

#include "cli/command.h"

namespace codecllm::cli {

namespace {

struct ConvertArguments {
  std::string model, output;
  ConvertOptions options;
};

OrderedJson convert_json(const ConvertResult& r, const ConvertArguments& a) {
  OrderedJson out = {{"format", a.options.format},     {"output", a.output}, {"exact", r.exact()}, {"requantized", r.requantized()},
                     {"max_error", r.max_error()},     {"source_bytes", r.source_bytes}, {"bytes", r.bytes}, {"seconds", r.seconds}};
  out["tensors"] = OrderedJson::array();
  for (const ConvertedTensor& tensor : r.tensors)
    out["tensors"].push_back({{"name", tensor.name}, {"stored", tensor.stored}, {"exact", tensor.exact}, {"max_error", tensor.max_error}});
  out["notes"] = r.notes;
  return out;
}

void print_converted(const ConvertResult& r, const ConvertArguments& a) {
  for (const ConvertedTensor& tensor : r.tensors)
    fmt::print("{:<52} {:<6} {}\n", tensor.name, tensor.stored,
               tensor.exact ? "bit-exact" : fmt::format("re-quantized, off by up to {:.3g}", tensor.max_error));
  fmt::print("\n{} of {} tensors bit-exact, {} re-quantized{}; {} -> {} in {:.1f} s; written to {}\n", r.exact(), r.tensors.size(), r.requantized(),
             r.requantized() > 0 ? fmt::format(", largest error {:.3g}", r.max_error()) : "", bytes_text(static_cast<double>(r.source_bytes)),
             bytes_text(static_cast<double>(r.bytes)), r.seconds, a.output);
}

}  // namespace

void add_convert(CLI::App& app, Globals& globals) {
  auto a = std::make_shared<ConvertArguments>();
  CLI::App& command = add_command(app, globals, "convert", "Writes a model in another program's layout, and says what that changes", [&app, &globals, a] {
    const auto context = globals.context();
    const ConvertResult result = convert_checkpoint(*context, a->model, a->output, a->options, globals.progress());
    for (const std::string& sentence : result.notes) note(globals, sentence);
    if (a->options.format != "gguf" && app.get_subcommand("convert")->count("--type") > 0) note(globals, "only gguf has types, so --type has no effect");
    globals.json ? globals.print_json("convert", convert_json(result, *a)) : print_converted(result, *a);
    return 0;
  });
  std::string formats;
  for (const std::string& name : convert_formats()) formats += (formats.empty() ? "" : ", ") + name;
  command.add_option("model", a->model, "Model directory or .gguf file")->required();
  command.add_option("-o,--output", a->output, "Directory, or .gguf file, to write; must not exist")->required();
  command.add_option("--to", a->options.format, formats)->required();
  command.add_option("--type", a->options.type, "gguf: f32, f16, bf16, q8_0, q4_0, or auto: symmetric integers keep their codes, all else its floats")->capture_default_str();
}

}  // namespace codecllm::cli
