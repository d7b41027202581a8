// SPDX-License-Identifier: Apache-2.0
#include "model/decode_cache.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>

#include "base/clock.h"
#include "kernels/transient_panels.h"
#include "kernels/dispatch.h"

namespace codecllm {

namespace {

std::vector<Matrix*> coded_products(DecoderModel& model) {
  std::vector<Matrix*> out;
  const auto visit = [&](Matrix& m) {
    if (m.rows() > 0 && m.view().coded != nullptr) out.push_back(&m);
  };
  if (model.spec.tied_head) visit(model.weights.embedding);
  for (BlockWeights& b : model.weights.blocks)
    for (Linear* l : b.linears()) visit(l->weight);
  if (!model.spec.tied_head) visit(model.weights.lm_head);
  return out;
}

size_t decoded_bytes(const Matrix& m) { return static_cast<size_t>(m.view().panels() * m.view().panel_bytes()); }

// Seconds that decoding takes for each byte it gives: the least of several passes over the first panels.
double decode_time(const KernelTable& kernels, const Matrix& m) {
  const MatrixView& w = m.view();
  PanelScratch scratch;
  scratch.fit(w, 1);
  const int64_t panels = std::min<int64_t>(4, w.panels());
  double best = std::numeric_limits<double>::infinity();
  for (int pass = 0; pass < 5; ++pass) {
    Stopwatch clock;
    for (int64_t p = 0; p < panels; ++p) kernels.decode_panel(*w.coded, p, scratch.of(0));
    best = std::min(best, clock.seconds());
  }
  return best / static_cast<double>(panels * w.panel_bytes());
}

// Matrices whose blocks are laid out alike take the decoder about the same time; they are timed once, so that they tie.
using Layout = std::array<int, 3>;
Layout layout_of(const CodeShape& s) {
  return {static_cast<int>(s.kind), s.low_bits, s.digit_bits[0]};
}

}  // namespace

DecodeCache keep_decoded(const Context& context, DecoderModel& model, size_t budget) {
  const KernelTable& kernels = kernels_for(context.impl().isa);
  std::vector<Matrix*> matrices = coded_products(model);
  DecodeCache cache = {.coded = static_cast<int64_t>(matrices.size())};
  if (budget == 0) return cache;
  std::map<Layout, double> times;
  for (const Matrix* m : matrices)
    if (const Layout layout = layout_of(m->view().coded->shape); !times.contains(layout)) times[layout] = decode_time(kernels, *m);
  std::stable_sort(matrices.begin(), matrices.end(), [&](const Matrix* a, const Matrix* b) {
    return times.at(layout_of(a->view().coded->shape)) > times.at(layout_of(b->view().coded->shape));
  });
  for (Matrix* m : matrices) {
    const size_t bytes = decoded_bytes(*m);
    if (bytes > budget - cache.bytes) continue;
    *m = m->decoded(context.impl().pool, kernels);
    cache.bytes += bytes;
    ++cache.decoded;
  }
  return cache;
}

}  // namespace codecllm
