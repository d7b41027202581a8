// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include "base/clock.h"
#include "cli/command.h"
#include "io/compress.h"
#include "kernels/dispatch.h"

namespace codecllm::cli {

namespace {

struct CompressArguments {
  std::string in, out;
};

int report_compression(const Globals& globals, const char* command, const CompressResult& result, double seconds) {
  if (globals.json) {
    globals.print_json(command, {{"bytes_in", result.bytes_in}, {"bytes_out", result.bytes_out}, {"tensors", result.tensors},
                                 {"coded", result.coded}, {"seconds", seconds}});
    return 0;
  }
  const auto in = static_cast<double>(result.bytes_in), out = static_cast<double>(result.bytes_out);
  fmt::print("{} -> {} ({:.1f}%), {} of {} tensors coded, {:.1f} s, {:.0f} MB/s\n", bytes_text(in), bytes_text(out), 100 * out / in,
             result.coded, result.tensors, seconds, std::max(in, out) / 1e6 / seconds);
  return 0;
}

void add_file_command(CLI::App& app, Globals& globals, const char* name, const char* help,
                      std::function<CompressResult(const Context&, const CompressArguments&, const Progress&)> work) {
  auto a = std::make_shared<CompressArguments>();
  CLI::App& command = add_command(app, globals, name, help, [&globals, a, name, work] {
    const auto context = globals.context();
    Stopwatch clock;
    const CompressResult result = work(*context, *a, globals.progress());
    return report_compression(globals, name, result, clock.seconds());
  });
  command.add_option("file", a->in, "A .safetensors file")->required()->check(CLI::ExistingFile);
  command.add_option("-o,--output", a->out, "File to write; must not exist")->required();
}

}  // namespace

void add_compress(CLI::App& app, Globals& globals) {
  add_file_command(app, globals, "compress", "Makes a safetensors file smaller; not a bit is lost",
                   [](const Context& context, const CompressArguments& a, const Progress& progress) {
                     return compress_file(context, a.in, a.out, progress);
                   });
}

void add_decompress(CLI::App& app, Globals& globals) {
  add_file_command(app, globals, "decompress", "What compress made, back to the same bytes",
                   [](const Context& context, const CompressArguments& a, const Progress& progress) {
                     return decompress_file(context, a.in, a.out, kernels_for(context.impl().isa).decode_panel, progress);
                   });
}

}  // namespace codecllm::cli
