// SPDX-License-Identifier: Apache-2.0
#include "kernels/coded_panels.h"

#include <algorithm>

namespace codecllm {

void PanelScratch::fit(const MatrixView& w, int threads) {
  if (w.coded == nullptr) return;
  // The last block of a panel may reach beyond its lines.
  const int64_t stride = round_up(kDecodedPanels * w.coded->panel_bytes() + kLineBytes, 4096);
  if (stride <= stride_ && buffer_.bytes() >= static_cast<size_t>(stride_ * threads)) return;
  stride_ = std::max(stride, stride_);
  buffer_ = Buffer(static_cast<size_t>(stride_ * threads));
  data_ = buffer_.as<uint8_t>().data();
}

void for_decoded_panels(const KernelTable& kernels, const MatrixView& w, int64_t rows, uint8_t* scratch, int64_t begin, int64_t end, PanelBody body) {
  if (w.coded == nullptr) return body(w, 0, begin, end);
  const int64_t together = rows == 1 ? 1 : kDecodedPanels;
  for (int64_t panel = begin; panel < end; panel += together) {
    const int64_t count = std::min(together, end - panel), row = panel * kPanelRows;
    for (int64_t i = 0; i < count; ++i) kernels.decode_panel(*w.coded, panel + i, scratch + i * w.panel_bytes());
    MatrixView part = w;
    part.coded = nullptr;
    part.data = scratch;
    part.rows = std::min(count * kPanelRows, w.rows - row);
    if (w.scales != nullptr) part.scales = static_cast<const uint8_t*>(w.scales) + row * w.groups() * scale_bytes(w.scale_type);
    body(part, row, 0, count);
  }
}

}  // namespace codecllm
