// SPDX-License-Identifier: Apache-2.0
// What every command has in common. A command is one file with an `add_<name>` function and a row in commands.def.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

#include "base/context.h"
#include "base/json.h"

namespace codecllm::cli {

struct Globals {
  bool json = false;
  int threads = 0;
  std::string device = "cpu";
  std::string isa;
  bool quiet = false, verbose = false;

  // Makes the context; throws Error(unsupported) for a device that this build lacks.
  std::unique_ptr<Context> context() const;

  // A bar with the time left on a terminal, plain lines otherwise, nothing when quiet. Answers false after Ctrl-C.
  Progress progress() const;

  // Prints one JSON object, beginning with schema and version.
  void print_json(const char* schema, const OrderedJson& fields) const;
};

// The command's action; what it returns is the exit code.
using Action = std::function<int()>;

// A subcommand that takes the options every command takes.
CLI::App& add_command(CLI::App& app, Globals& globals, const char* name, const char* help, Action action);

#define COMMAND(name) void add_##name(CLI::App& app, Globals& globals);
#include "cli/commands.def"
#undef COMMAND

// --kv f16|int8|fp8|f32, into `kv`.
CLI::Option* add_kv(CLI::App& command, std::string& kv);

// For options that are unsigned, with or without a unit behind: CLI11 takes -1 as 2^64 - 1, and what is more as that, too.
std::string check_unsigned(const std::string& text);

// A number of bytes that takes "200MB", too.
CLI::Option* as_size(CLI::Option* option);

bool interrupted();

// 1234567 -> "1.2 MB"
std::string bytes_text(double bytes);

// Sentences to stderr, unless quiet.
void note(const Globals& globals, std::string_view text);

}  // namespace codecllm::cli
