// SPDX-License-Identifier: Apache-2.0
#include "cli/bench_worker.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "base/clock.h"
#include "base/memory.h"
#include "gen/machine.h"
#include "gen/requests.h"
#include "model/compute.h"
#include "model/synthetic.h"

namespace codecllm::cli {

namespace {

void write_line(int fd, const std::string& text) {
  const std::string line = text + "\n";
  size_t done = 0;
  while (done < line.size()) {
    const ssize_t put = ::write(fd, line.data() + done, line.size() - done);
    if (put <= 0) throw Error(ErrorCode::io, "bench", "a measuring process ended early");
    done += static_cast<size_t>(put);
  }
}

bool read_line(int fd, std::string& pending, std::string& line) {
  for (;;) {
    if (const size_t end = pending.find('\n'); end != std::string::npos) {
      line = pending.substr(0, end);
      pending.erase(0, end + 1);
      return true;
    }
    char buffer[4096];
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR && !interrupted()) continue;
    if (got <= 0) return false;
    pending.append(buffer, static_cast<size_t>(got));
  }
}

// Bits per weight of the linear layers, lm_head among them where it is stored apart.
double bits_per_weight(const DecoderModel& model) {
  double bytes = 0, weights = 0;
  const auto add = [&](const Matrix& m) {
    bytes += static_cast<double>(m.bytes());
    weights += static_cast<double>(m.rows()) * static_cast<double>(m.columns());
  };
  for (const BlockWeights& b : model.weights.blocks)
    for (const Linear* l : b.linears()) add(l->weight);
  if (model.weights.lm_head.rows() > 0) add(model.weights.lm_head);
  return 8 * bytes / weights;
}

OrderedJson round_json(const Measurement& m) {
  OrderedJson out = {{"prefill_tok_s", m.prefill_tok_s}, {"decode_tok_s", m.decode_tok_s}};
  out["batch"] = OrderedJson::object();
  for (const auto& [count, rate] : m.batch) out["batch"][std::to_string(count)] = rate;
  out["context"] = OrderedJson::object();
  for (const auto& [tokens, rate] : m.context) out["context"][std::to_string(tokens)] = rate;
  out["prompts"] = OrderedJson::object();
  for (const auto& [prompts, rate] : m.prompts) out["prompts"][prompts.name()] = rate;
  out["peak_rss_bytes"] = peak_rss_bytes();
  return out;
}

OrderedJson requests_json(const RequestStats& s) {
  return {{"requests", s.requests}, {"prompt_tokens", s.prompt_tokens}, {"decoded_tokens", s.decoded_tokens}, {"seconds", s.seconds},
          {"tok_s", static_cast<double>(s.prompt_tokens + s.decoded_tokens) / s.seconds}, {"mean_latency_s", s.mean_latency_s},
          {"mean_first_token_s", s.mean_first_s}, {"peak_rss_bytes", peak_rss_bytes()}};
}

OrderedJson machine_json(const MachineState& machine) {
  return {{"read_bytes_s", machine.read_bytes_s}, {"int8_ops_s", machine.int8_ops_s},
          {"bf16_flops_s", machine.bf16_flops_s}, {"two_over_one", machine.two_over_one}};
}

// Answers questions until the parent goes away.
void answer_questions(int from, int to, FunctionRef<OrderedJson(const std::string& question)> answer) {
  std::string pending, question;
  while (read_line(from, pending, question)) write_line(to, dump_json(answer(question)));
}

void serve(int from, int to, const BenchTarget& target, const Globals& globals, const MeasureOptions& options) {
  const auto context = globals.context();
  if (target.model.empty() && target.shape.empty())
    return answer_questions(from, to, [&](const std::string&) { return machine_json(probe_machine(*context)); });
  Stopwatch clock;
  DecodeCache cache;
  const DecoderModel model = make_model(*context, target, &cache);
  const double load_s = clock.seconds();
  if (target.model.empty()) restart_peak_rss();  // making weights up is nobody's use of memory
  Measurer measurer(model, options);
  answer_questions(from, to, [&](const std::string& question) -> OrderedJson {
    if (question == "requests") return requests_json(run_requests(model, options));
    if (question == "round") return round_json(measurer.round());
    return {{"compute", compute_of(model.weights)}, {"weight_bytes", model.weights.bytes()}, {"mapped_bytes", model.weights.mapped_bytes()}, {"bits_per_weight", bits_per_weight(model)},
            {"read_bytes_per_token", model.read_bytes_per_token()}, {"kv_bytes", measurer.kv_bytes()}, {"load_s", load_s},
            {"decode_cache", decode_cache_json(cache)}};
  });
}

}  // namespace

DecoderModel make_model(const Context& context, const BenchTarget& target, DecodeCache* cache) {
  DecoderModel model = target.model.empty() ? synthetic_model(context, shape_spec(target.shape), scheme_preset(target.scheme))
                                            : load_model(context, target.model, {}, target.held.mmap);
  set_compute(model.weights, target.held.compute);
  const DecodeCache kept = keep_decoded(context, model, target.held.decode_cache);
  if (cache != nullptr) *cache = kept;
  return model;
}

BenchWorker::BenchWorker(const BenchTarget& target, const Globals& globals, const MeasureOptions& options)
    : name_(target.name) {
  int down[2], up[2];
  if (::pipe(down) != 0 || ::pipe(up) != 0) throw Error(ErrorCode::io, "bench", "the system gives no more pipes");
  ::signal(SIGPIPE, SIG_IGN);
  pid_ = ::fork();  // before this process has threads of its own
  if (pid_ < 0) throw Error(ErrorCode::io, "bench", "the system starts no more processes");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a round may be long, and the parent's end is seen between rounds
    ::close(down[1]);
    ::close(up[0]);
    int code = 0;
    try {
      serve(down[0], up[1], target, globals, options);
    } catch (const Error& error) {
      write_line(up[1], dump_json({{"error", error.what()}, {"code", static_cast<int>(error.code())}}));
      code = error.exit_code();
    } catch (const std::exception& error) {
      write_line(up[1], dump_json({{"error", error.what()}, {"code", 1}}));
      code = 1;
    }
    ::_exit(code);
  }
  ::close(down[0]);
  ::close(up[1]);
  to_ = down[1];
  from_ = up[0];
}

BenchWorker::BenchWorker(BenchWorker&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      to_(std::exchange(other.to_, -1)),
      from_(std::exchange(other.from_, -1)),
      pending_(std::move(other.pending_)),
      name_(std::move(other.name_)) {}

BenchWorker::~BenchWorker() {
  if (pid_ < 0) return;
  ::close(to_);
  ::close(from_);
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

Json BenchWorker::ask(const std::string& question) {
  std::string line;
  try {
    write_line(to_, question);
  } catch (const Error&) {
    // It has ended; what it said before it did is still to be read.
  }
  if (!read_line(from_, pending_, line)) {
    if (interrupted()) throw Error(ErrorCode::interrupted, "bench", "interrupted");
    siginfo_t end = {};
    ::waitid(P_PID, static_cast<id_t>(pid_), &end, WEXITED | WNOWAIT);
    const bool killed = end.si_code == CLD_KILLED && end.si_status == SIGKILL;
    throw Error(ErrorCode::io, "bench", "the process that measured " + name_ + " ended early" + (killed ? "; was memory too small?" : ""));
  }
  Json answer = parse_json(line, name_);
  if (answer.contains("error"))
    throw Error(static_cast<ErrorCode>(answer["code"].get<int>()), "bench", name_ + ": " + answer["error"].get<std::string>());
  return answer;
}

}  // namespace codecllm::cli
