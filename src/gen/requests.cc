// SPDX-License-Identifier: Apache-2.0
#include "gen/requests.h"

#include <algorithm>
#include <list>

#include "base/clock.h"

namespace codecllm {

namespace {

struct Request {
  KvSequence sequence;
  int64_t prompt, decoded = 0;
  double taken_up;  // seconds
};

class RequestQueue {
 public:
  RequestQueue(const DecoderModel& model, const MeasureOptions& options)
      : model_(model),
        options_(options),
        waiting_(options.requests),
        most_(*std::max_element(options.batches.begin(), options.batches.end())),
        cache_(model.spec, options.kv, most_ * (options.prompt_tokens + options.decode_tokens), most_),
        forward_(model, cache_) {}

  RequestStats run() {
    stats_.requests = waiting_;
    while (waiting_ > 0 || !under_way_.empty()) step();
    stats_.seconds = clock_.seconds();
    const auto count = static_cast<double>(std::max<int64_t>(1, stats_.requests));
    stats_.mean_latency_s /= count;
    stats_.mean_first_s /= count;
    return stats_;
  }

 private:
  int32_t token() { return static_cast<int32_t>(rng_.below(static_cast<uint64_t>(model_.spec.vocab))); }

  void take_up() {
    if (waiting_ == 0 || static_cast<int64_t>(under_way_.size()) == most_) return;
    --waiting_;
    const int64_t least = std::max<int64_t>(1, options_.prompt_tokens / 4);
    const auto more = static_cast<int64_t>(rng_.below(static_cast<uint64_t>(options_.prompt_tokens - least + 1)));
    under_way_.push_back({{}, least + more, 0, clock_.seconds()});
    stats_.prompt_tokens += least + more;
  }

  // The next rows of every request: a token, or a piece of the prompt, of which one step holds one.
  void step() {
    if (under_way_.empty() || under_way_.back().sequence.length >= under_way_.back().prompt) take_up();
    rows_.clear();
    for (Request& r : under_way_) {
      const int64_t from = r.sequence.length, count = from < r.prompt ? std::min(r.prompt - from, TokenSession::kChunk) : 1;
      cache_.grow(r.sequence, count);
      for (int64_t i = from; i < from + count; ++i) rows_.push_back({token(), &r.sequence, i, i + 1 == from + count && i + 1 >= r.prompt});
    }
    forward_.run(rows_);
    const double now = clock_.seconds();
    for (auto r = under_way_.begin(); r != under_way_.end();) {
      if (r->sequence.length < r->prompt) break;  // the newest is still reading
      ++stats_.decoded_tokens;
      if (r->decoded++ == 0) stats_.mean_first_s += now - r->taken_up;
      if (r->decoded < options_.decode_tokens) {
        ++r;
        continue;
      }
      stats_.mean_latency_s += now - r->taken_up;
      cache_.truncate(r->sequence, 0);
      r = under_way_.erase(r);
    }
  }

  const DecoderModel& model_;
  const MeasureOptions& options_;
  int64_t waiting_, most_;
  KvCache cache_;
  Forward forward_;
  std::list<Request> under_way_;  // rows point into it
  std::vector<BatchRow> rows_;
  Rng rng_{11};
  Stopwatch clock_;
  RequestStats stats_;
};

}  // namespace

RequestStats run_requests(const DecoderModel& model, const MeasureOptions& options) {
  return RequestQueue(model, options).run();
}

}  // namespace codecllm
