// SPDX-License-Identifier: Apache-2.0
// Commands of the contract that this version does not have: known by name, refused in one sentence.
#include "cli/command.h"

namespace codecllm::cli {

void add_later(CLI::App& app, Globals&) {
  for (const char* name : {"compare", "outliers", "serve", "pull"}) {
    CLI::App& command = *app.add_subcommand(name, "Not in this version")->group("");
    command.allow_extras();
    command.callback([name] {
      throw Error(ErrorCode::unsupported, name, "this command is not in this version; `codecllm --help` lists those that are");
    });
  }
}

}  // namespace codecllm::cli
