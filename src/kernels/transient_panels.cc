// SPDX-License-Identifier: Apache-2.0
#include "kernels/transient_panels.h"

#include <algorithm>

namespace codecllm {

// Most panels that are made and multiplied together: the tiles of several rows take two, and one row one, so that as little as
// can be waits in the cache.
constexpr int64_t kTogether = 2;

static bool is_plain(const MatrixView& w) { return w.coded == nullptr && w.stored == nullptr; }

int64_t made_bytes(const MatrixView& w) { return std::max(w.panel_bytes(), w.coded == nullptr ? 0 : w.coded->panel_bytes()); }

void make_panel(const KernelTable& kernels, const MatrixView& w, int64_t panel, uint8_t* out) {
  w.coded != nullptr ? kernels.decode_panel(*w.coded, panel, out) : kernels.lay_out_panel(w, panel, out);
}

void PanelScratch::fit(const MatrixView& w, int threads) {
  if (is_plain(w)) return;
  const int64_t stride = round_up(kTogether * made_bytes(w) + kLineBytes, 4096);
  if (stride <= stride_ && buffer_.bytes() >= static_cast<size_t>(stride_ * threads)) return;
  stride_ = std::max(stride, stride_);
  buffer_ = Buffer(static_cast<size_t>(stride_ * threads));
  data_ = buffer_.as<uint8_t>().data();
}

void for_plain_panels(const KernelTable& kernels, const MatrixView& w, int64_t rows, uint8_t* scratch, int64_t begin, int64_t end, PanelBody body) {
  if (is_plain(w)) return body(w, 0, begin, end);
  const int64_t together = rows == 1 ? 1 : kTogether;
  for (int64_t panel = begin; panel < end; panel += together) {
    const int64_t count = std::min(together, end - panel), row = panel * kPanelRows;
    for (int64_t i = 0; i < count; ++i) make_panel(kernels, w, panel + i, scratch + i * w.panel_bytes());
    MatrixView part = w;
    part.coded = nullptr;
    part.stored = nullptr;
    part.data = scratch;
    part.rows = std::min(count * kPanelRows, w.rows - row);
    const int64_t cells = row * w.groups();
    if (w.scales != nullptr) part.scales = static_cast<const uint8_t*>(w.scales) + cells * scale_bytes(w.scale_type);
    if (w.zeros != nullptr) part.zeros = w.zeros + cells;
    body(part, row, 0, count);
  }
}

}  // namespace codecllm
