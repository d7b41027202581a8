// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include "cli/bench_modes.h"
#include "gen/requests.h"

namespace codecllm::cli {

int bench_requests(const Globals& globals, const std::vector<BenchTarget>& targets, const MeasureOptions& options) {
  const Progress progress = globals.progress();
  OrderedJson runs = OrderedJson::array();
  for (size_t i = 0; i < targets.size(); ++i) {  // one after the other: each has the machine's memory to itself
    BenchWorker worker(targets[i], globals, options);
    const auto report = [&](std::string_view what) {
      if (!progress(static_cast<double>(i) / static_cast<double>(targets.size()), what)) throw Error(ErrorCode::interrupted, "bench", "interrupted");
    };
    report("loading");
    const Json info = worker.ask("info");
    report("running requests");
    OrderedJson run = {{"name", targets[i].name}, {"compute", info.at("compute")}, {"weight_bytes", info.at("weight_bytes")},
                       {"decode_cache", info.at("decode_cache")}};
    run.update(OrderedJson(worker.ask("requests")));
    runs.push_back(run);
  }
  progress(1, "running requests");
  if (globals.json) {
    globals.print_json("bench", {{"requests", options.requests}, {"runs", runs}});
    return 0;
  }
  fmt::print("{:<28} {:>7} {:>8} {:>9} {:>9} {:>8} {:>9} {:>11} {:>12} {:>9}\n", "", "compute", "requests", "read", "written", "seconds",
             "tok/s", "latency s", "1st token s", "peak");
  for (const auto& r : runs)
    fmt::print("{:<28} {:>7} {:>8} {:>9} {:>9} {:>8.2f} {:>9.1f} {:>11.3f} {:>12.3f} {:>9}\n", r["name"].get<std::string>(), r["compute"].get<std::string>(),
               r["requests"].get<int64_t>(), r["prompt_tokens"].get<int64_t>(), r["decoded_tokens"].get<int64_t>(), r["seconds"].get<double>(),
               r["tok_s"].get<double>(), r["mean_latency_s"].get<double>(), r["mean_first_token_s"].get<double>(),
               bytes_text(r["peak_rss_bytes"].get<double>()));
  return 0;
}

}  // namespace codecllm::cli
