// SPDX-License-Identifier: Apache-2.0
#include "cli/command.h"

#include <fmt/core.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <cstdio>
#include <limits>

#include "base/clock.h"

namespace codecllm::cli {

namespace {

volatile std::sig_atomic_t g_interrupted = 0;

void on_signal(int) { g_interrupted = 1; }

// What is mapped is read long after it was opened.
void on_lost_file(int) {
  static constexpr char kText[] = "codecllm: a file in use was cut short, or its disk failed\n";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, kText, sizeof kText - 1);
  ::_exit(1);
}

// No restart: a read that waits for the user or for another process ends with EINTR. A second Ctrl-C ends the program.
void catch_signals() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESETHAND;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  action.sa_handler = on_lost_file;
  action.sa_flags = 0;  // several threads may come to it at once
  sigaction(SIGBUS, &action, nullptr);
}

// Draws progress; shared by the copies of one std::function.
struct Bar {
  Stopwatch clock;
  double last_drawn = -1, last_share = -1;
  std::string last_what;

  void draw(double share, std::string_view what) {
    const double now = clock.seconds();
    const bool terminal = isatty(STDERR_FILENO) != 0, fresh = last_what != what;
    if (terminal ? now - last_drawn < 0.1 && !fresh && share < 1 : !fresh && share - last_share < 0.25) return;
    last_drawn = now;
    last_share = share;
    last_what = what;
    const double left = share > 0.01 ? now / share - now : 0;
    if (!terminal) {
      fmt::print(stderr, "{} {:.0f}%\n", what, 100 * share);
      return;
    }
    const int filled = static_cast<int>(share * 30);
    fmt::print(stderr, "\r{:<12} [{}{}] {:3.0f}% {}", what, std::string(filled, '#'), std::string(30 - filled, '.'),
               100 * share, share >= 1 ? "            " : fmt::format("{:4.0f} s left ", left));
    std::fflush(stderr);
    drawn = true;
  }

  ~Bar() {
    if (drawn) fmt::print(stderr, "\r{:70}\r", "");
  }

  bool drawn = false;
};

}  // namespace

bool interrupted() { return g_interrupted != 0; }

std::unique_ptr<Context> Globals::context() const {
  if (device != "cpu")
    throw Error(device == "cuda" ? ErrorCode::unsupported : ErrorCode::bad_call, "device",
                device == "cuda" ? "this build has no CUDA; use --device cpu" : "no device '" + device + "'; there are: cpu, cuda");
  ContextOptions options = {.threads = threads, .isa = isa};
  if (verbose) options.log = [](std::string_view line) { fmt::print(stderr, "{}\n", line); };
  return std::make_unique<Context>(std::move(options));
}

Progress Globals::progress() const {
  auto bar = std::make_shared<Bar>();
  return [bar, hidden = quiet](double share, std::string_view what) {
    if (!hidden) bar->draw(share, what);
    return !interrupted();
  };
}

void Globals::print_json(const char* schema, const OrderedJson& fields) const {
  OrderedJson out = {{"schema", fmt::format("codecllm.{}", schema)}, {"version", 1}};
  out.update(fields);
  fmt::print("{}\n", dump_json(out));
}

CLI::App& add_command(CLI::App& app, Globals& globals, const char* name, const char* help, Action action) {
  CLI::App& command = *app.add_subcommand(name, help);
  command.add_flag("--json", globals.json, "One JSON object on stdout, nothing else there");
  command.add_option("--threads", globals.threads, "Threads (default: one per available CPU)")->check(CLI::Range(0, kMaxThreads));
  command.add_option("--device", globals.device, "cpu or cuda")->capture_default_str();
  command.add_option("--isa", globals.isa, "Force an ISA tier (as CODECLLM_ISA does)");
  command.add_flag("-q,--quiet", globals.quiet, "No progress and no notes");
  command.add_flag("-v,--verbose", globals.verbose, "More about what is done");
  command.callback([action = std::move(action)] {
    catch_signals();
    const int code = action();
    if (code != 0) throw CLI::RuntimeError(code);
  });
  return command;
}

CLI::Option* add_kv(CLI::App& command, std::string& kv) {
  return command.add_option("--kv", kv, "Type of the KV cache: f16, f32, int8 or fp8 (E4M3; either with one scale per head and token)")
      ->check(CLI::IsMember({"f16", "int8", "fp8", "f32"}))->capture_default_str();
}

CLI::Option* as_size(CLI::Option* option) { return option->transform(CLI::AsSizeValue(true))->transform(CLI::Validator(check_unsigned, "")); }

std::string check_unsigned(const std::string& text) {
  uint64_t number = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), number).ec == std::errc()) return "";
  return fmt::format("'{}' is no number from 0 to {}", text, std::numeric_limits<uint64_t>::max());
}

std::string bytes_text(double bytes) {
  if (bytes < 1e6) return fmt::format("{:.1f} kB", bytes / 1e3);
  if (bytes < 1e9) return fmt::format("{:.1f} MB", bytes / 1e6);
  return fmt::format("{:.2f} GB", bytes / 1e9);
}

void note(const Globals& globals, std::string_view text) {
  if (!globals.quiet) fmt::print(stderr, "note: {}\n", text);
}

}  // namespace codecllm::cli
