// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>

#include "cli/command.h"
#include "codecllm/version.h"

int main(int argc, char** argv) {
  using namespace codecllm;
  CLI::App app("Makes language models smaller and faster without making them worse.", "codecllm");
  app.set_version_flag("--version", CODECLLM_VERSION);
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "Help of every command");
  cli::Globals globals;
#define COMMAND(name) cli::add_##name(app, globals);
#include "cli/commands.def"
#undef COMMAND
  // What was printed may still be waiting: a full disk behind a pipe must not look like success.
  const auto flushed = [](int code) {
    const bool last = std::fflush(stdout) != 0;  // else an earlier write failed, whose reason is gone
    if (!last && std::ferror(stdout) == 0) return code;
    fmt::print(stderr, "codecllm: standard output cannot be written{}\n", last ? fmt::format(": {}", std::strerror(errno)) : "");
    return code == 0 ? 1 : code;
  };
  try {
    app.parse(argc, argv);
    return flushed(0);
  } catch (const CLI::RuntimeError& done) {
    return flushed(done.get_exit_code());
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return flushed(app.exit(error));  // help and version
    const bool unknown = argc > 1 && argv[1][0] != '-' && app.get_subcommands().empty();
    const std::string what = unknown ? fmt::format("no command '{}'", argv[1]) : std::string(error.what());
    fmt::print(stderr, "codecllm: {}; `codecllm --help` tells more\n", what);
    return 2;
  } catch (const Error& error) {
    fmt::print(stderr, "codecllm: {}\n", error.what());
    return error.exit_code();
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "codecllm: the system refused more memory\n");
    return 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "codecllm: {}\n", error.what());
    return 1;
  }
}
