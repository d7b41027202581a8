// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>

#include "codec/encode_tensor.h"
#include "format/coded_scheme.h"
#include "format/plain_float.h"
#include "io/coded_tensors.h"
#include "kernels/dispatch.h"
#include "kernels/matrix.h"
#include "quant/coded.h"
#include "quant/rtn.h"

namespace codecllm {

namespace {

// A layer worse than this is damaged, whatever its rate: two bits of a Gaussian give 9 dB.
constexpr double kFloorDb = 2;

constexpr int64_t kNone = INT64_MAX;

struct CodedSums {
  double signal = 0, noise = 0, product = 0, largest = 0;
  int64_t different_row = kNone, sick_row = kNone, sick_source = kNone;  // the first, also of those that are not finite
};

bool all_finite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

// One decoded panel, against its source where there is one.
CodedSums look_at_panel(const MatrixView& panel, int64_t first, const TensorInfo* source) {
  CodedSums sums;
  std::vector<float> got(static_cast<size_t>(panel.columns)), want(got.size());
  for (int64_t i = 0; i < panel.rows; ++i) {
    read_row(panel, i, got.data());
    if (!all_finite(got)) sums.sick_row = std::min(sums.sick_row, first + i);
    if (source == nullptr) continue;
    read_source_row(*source, first + i, want);
    if (!all_finite(want)) sums.sick_source = std::min(sums.sick_source, first + i);
    if (!is_scaled(panel.element) && std::memcmp(got.data(), want.data(), got.size() * sizeof(float)) != 0) sums.different_row = std::min(sums.different_row, first + i);
    for (size_t k = 0; k < got.size(); ++k) {
      const double error = static_cast<double>(want[k]) - got[k];
      sums.signal += static_cast<double>(want[k]) * want[k];
      sums.noise += error * error;
      sums.product += static_cast<double>(want[k]) * got[k];
      sums.largest = std::max(sums.largest, std::fabs(error));
    }
  }
  return sums;
}

bool good_scales(const TensorInfo* scales) {
  for (int64_t i = 0; scales != nullptr && i < scales->elements(); ++i) {
    const float scale = load_float(scales->data.data(), i, scales->dtype);
    if (!std::isfinite(scale) || scale == 0) return false;
  }
  return true;
}

}  // namespace

LayerReport check_coded_layer(const Context& context, const Checkpoint& checkpoint, const std::string& module,
                              const Checkpoint* reference) {
  CodedTensors tensors = coded_tensors(checkpoint, module);
  const CodedTensor coded = tensors.opened;
  const auto rows = static_cast<int64_t>(coded.header.rows), columns = static_cast<int64_t>(coded.header.columns);
  Matrix matrix = Matrix::from_coded(std::move(tensors.bytes), coded, rows, columns, ScaleType::f32, tensors.place);
  const bool scaled = is_scaled(matrix.view().element);
  for (int64_t row = 0; scaled && row < rows; ++row)
    matrix.set_scale(row, 0, load_float(tensors.scales->data.data(), row, tensors.scales->dtype));

  LayerReport report = {.name = module, .scheme = coded.header.shape.kind == CodeKind::e4m3 ? "coded e4m3 channel" : scaled ? "coded int8 channel" : "lossless",
                        .weights = rows * columns};
  report.bytes = tensors.coded->data.size() + (scaled ? tensors.scales->data.size() : 0);
  const TensorInfo* source = reference != nullptr ? reference->find(module + ".weight") : nullptr;
  if (reference != nullptr && (source == nullptr || source->shape != std::vector<int64_t>{rows, columns}))
    report.problem = "the reference has no weight of this shape";
  else if (source != nullptr && !scaled && element_of(source->dtype) != matrix.view().element)
    report.problem = "the reference has another type";
  if (!report.problem.empty()) return report;

  CodedSums all;
  std::mutex lock;
  const auto take = [&](int64_t panel, std::span<const uint8_t> elements) {
    MatrixView part = matrix.view();
    part.coded = nullptr;
    part.data = elements.data();
    part.rows = std::min(kPanelRows, rows - panel * kPanelRows);
    if (scaled) part.scales = static_cast<const float*>(part.scales) + panel * kPanelRows;
    const CodedSums own = look_at_panel(part, panel * kPanelRows, source);
    const std::lock_guard guard(lock);
    all.signal += own.signal;
    all.noise += own.noise;
    all.product += own.product;
    all.largest = std::max(all.largest, own.largest);
    all.different_row = std::min(all.different_row, own.different_row);
    all.sick_row = std::min(all.sick_row, own.sick_row);
    all.sick_source = std::min(all.sick_source, own.sick_source);
  };
  if (!decodes_right(context.impl().pool, coded, kernels_for(context.impl().isa).decode_panel, take))
    report.problem = "does not decode to what its checksum was taken of";
  else if (!good_scales(tensors.scales))
    report.problem = "has a scale that is zero or not finite";
  else if (all.sick_row != kNone)
    report.problem = "row " + std::to_string(all.sick_row) + " is not finite";
  else if (all.sick_source != kNone)
    report.problem = "row " + std::to_string(all.sick_source) + " of the source is not finite";
  else if (all.different_row != kNone)
    report.problem = "row " + std::to_string(all.different_row) + " differs from the reference";
  report.max_abs_error = all.largest;
  if (source != nullptr) report.sqnr_db = sqnr_db(all.signal, all.noise);
  if (report.problem.empty() && source != nullptr) report.problem = gain_problem(all.signal, all.product, 0);
  if (report.problem.empty() && source != nullptr && all.signal > 0 && !(report.sqnr_db >= kFloorDb))
    report.problem = "SQNR " + std::to_string(report.sqnr_db) + " dB against the reference";
  return report;
}

}  // namespace codecllm
