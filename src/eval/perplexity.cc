// SPDX-License-Identifier: Apache-2.0
#include "eval/perplexity.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "eval/rolling.h"
#include "model/model_tokenizer.h"

namespace codecllm {

namespace {

constexpr int64_t kChunk = 128;  // rows at a time: bounds the logits to kChunk * vocab floats

struct RowScore {
  double nll, reference_nll, kl;
  bool finite, same_top;
};

RowScore score_row(const float* logits, const float* reference, int64_t vocab, int32_t target) {
  int64_t best = 0, reference_best = 0;
  const double total = log_sum_exp(logits, vocab, &best);
  RowScore score = {.nll = total - logits[target], .reference_nll = 0, .kl = 0, .finite = true, .same_top = false};
  for (int64_t i = 0; i < vocab; ++i) score.finite = score.finite && std::isfinite(logits[i]);
  if (reference == nullptr) return score;
  const double reference_total = log_sum_exp(reference, vocab, &reference_best);
  score.reference_nll = reference_total - reference[target];
  score.same_top = best == reference_best;
  for (int64_t i = 0; i < vocab; ++i) {
    const double log_p = reference[i] - reference_total, log_q = logits[i] - total;
    score.kl += std::exp(log_p) * (log_p - log_q);
  }
  return score;
}

struct Totals {
  double nll = 0, reference_nll = 0;
  int64_t same_top = 0;
  bool finite = true;
  std::vector<double> kl;
};

PerplexityResult summarize(Totals& totals, int64_t tokens, bool compared) {
  const auto n = static_cast<double>(tokens);
  PerplexityResult result;
  result.tokens = tokens;
  result.nll = totals.nll / n;
  result.perplexity = std::exp(result.nll);
  result.logits_finite = totals.finite;
  result.loss_finite = std::isfinite(result.nll);
  result.compared = compared;
  if (!compared) return result;
  for (double kl : totals.kl) result.kl_mean += kl / n;
  const auto rank = static_cast<ptrdiff_t>(0.99 * (n - 1) + 0.5);
  std::nth_element(totals.kl.begin(), totals.kl.begin() + rank, totals.kl.end());
  result.kl_p99 = totals.kl[rank];
  result.top1_agreement = static_cast<double>(totals.same_top) / n;
  result.reference_perplexity = std::exp(totals.reference_nll / n);
  result.reference_finite = std::isfinite(totals.reference_nll);
  return result;
}

}  // namespace

PerplexityResult perplexity(const DecoderModel& model, std::span<const int32_t> tokens,
                            const PerplexityOptions& options, const DecoderModel* reference, const Progress& progress) {
  const auto count = static_cast<int64_t>(tokens.size());
  const int64_t window = options.context > 0 ? options.context : std::min<int64_t>(2048, model.spec.max_positions);
  const int64_t stride = options.stride > 0 ? options.stride : std::max<int64_t>(1, window / 2);
  const int64_t context = std::min(count, window), vocab = model.spec.vocab;
  if (count < 2) throw Error(ErrorCode::bad_call, "perplexity", "the text must have at least two tokens");
  if (window < 2) throw Error(ErrorCode::bad_call, "perplexity", "the context must be at least two tokens");
  if (stride > window) throw Error(ErrorCode::bad_call, "perplexity", "the stride must not exceed the context");
  if (reference != nullptr && reference->spec.vocab != vocab)
    throw Error(ErrorCode::bad_call, "perplexity", "the two models have different vocabularies");
  check_tokens(tokens, vocab);

  const int64_t chunk = options.decode_loop ? 1 : kChunk;
  RollingModel runner(model, context, options.kv);
  std::optional<RollingModel> other;
  if (reference != nullptr) other.emplace(*reference, context);
  Totals totals;
  int64_t scored_to = 1, scored = 0;  // targets before index scored_to are done
  const std::function<bool()> asked = [&] { return !progress || progress(static_cast<double>(scored_to) / static_cast<double>(count), "scoring"); };
  for (int64_t begin = 0; scored_to < count; begin += stride) {
    const int64_t end = std::min(count, begin + context);
    scored_to = std::max(scored_to, begin + 1);  // windows that do not overlap leave out their first token
    runner.keep(0);
    if (other) other->keep(0);
    // Row i predicts token i + 1, so the last token of a window need not run.
    for (int64_t at = begin; at < end - 1; at += chunk) {
      const auto piece = tokens.subspan(at, std::min(chunk, end - 1 - at));
      const int64_t first_row = scored_to - 1 - begin;
      const auto logits = runner.run(piece, first_row, asked);
      const float* reference_logits = other ? other->run(piece, first_row, asked).data() : nullptr;
      const int64_t rows = static_cast<int64_t>(logits.size()) / vocab;
      std::vector<RowScore> scores(static_cast<size_t>(rows));
      model.context->impl().pool.parallel_for(static_cast<size_t>(rows), 1, [&](size_t from, size_t to, int) {
        for (size_t r = from; r < to; ++r)
          scores[r] = score_row(&logits[r * vocab], reference_logits != nullptr ? reference_logits + r * vocab : nullptr,
                                vocab, tokens[scored_to + static_cast<int64_t>(r)]);
      });
      for (const RowScore& s : scores) {
        totals.nll += s.nll;
        totals.reference_nll += s.reference_nll;
        totals.same_top += s.same_top ? 1 : 0;
        totals.finite = totals.finite && s.finite;
        if (other) totals.kl.push_back(s.kl);
      }
      scored_to += rows;
      scored += rows;
      if (!asked()) throw Error(ErrorCode::interrupted, "perplexity", "interrupted");
    }
  }
  return summarize(totals, scored, reference != nullptr);
}

}  // namespace codecllm
