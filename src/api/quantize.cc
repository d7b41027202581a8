// SPDX-License-Identifier: Apache-2.0
#include "codecllm/quantize.h"

#include "quant/quantize.h"

namespace codecllm {

QuantizeReport quantize(const Context& context, const QuantizeRequest& request, const Progress& progress) {
  const QuantizeOptions options = {.scheme = scheme_preset(request.scheme),
                                   .selection = {request.only, request.ignore},
                                   .force = request.force};
  QuantizeResult r = quantize_checkpoint(context, request.model, request.output, options, progress);
  QuantizeReport report = {.source_bytes = r.source_bytes, .weight_bytes = r.weight_bytes,
                           .bits_per_weight = r.bits_per_weight, .seconds = r.seconds,
                           .layers = {}, .notes = std::move(r.notes), .bad = std::move(r.bad)};
  for (const LayerReport& layer : r.layers)
    report.layers.push_back({layer.name, layer.scheme, layer.sqnr_db, layer.max_abs_error});
  return report;
}

}  // namespace codecllm
