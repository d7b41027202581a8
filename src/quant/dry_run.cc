// SPDX-License-Identifier: Apache-2.0
#include "quant/dry_run.h"

#include <algorithm>

#include "format/coded_scheme.h"
#include "format/grid_map.h"
#include "io/safetensors.h"
#include "kernels/matrix.h"
#include "model/weights.h"

namespace codecllm {

namespace {

uint64_t bytes_of(const TensorDecl& decl) { return tensor_bytes(decl.dtype, decl.shape, ErrorCode::bad_call, {.tensor = decl.name}); }

// Of a matrix whose codes are a byte or half a byte in memory, whatever they are in the file.
uint64_t memory_bytes(const TensorJob& job) {
  const int64_t rows = job.source->shape[0], columns = job.source->shape[1], groups = GridMap(job.args, rows, columns).across;
  const auto codes = static_cast<uint64_t>(rows * columns * traits(element_of(job.args)).bits / 8);
  const auto scales = static_cast<uint64_t>(rows * groups * scale_bytes(scale_type_of(job.dtype)));
  return codes + scales + static_cast<uint64_t>(job.args.symmetric ? 0 : rows * groups);
}

}  // namespace

QuantizePlan plan_checkpoint(const std::string& model, const QuantizeOptions& options) {
  if (options.recipe.empty() && coded_scheme(options.scheme.name))
    throw Error(ErrorCode::unsupported, "quantize", "the size of entropy-coded weights is not known before they are coded; leave --dry-run out");
  const Checkpoint checkpoint(model);
  const ModelSpec spec = read_spec(checkpoint);
  const QuantizeJob job = plan_job(checkpoint, spec, options);
  QuantizePlan plan = {.source_bytes = checkpoint.total_bytes(), .notes = job.notes};
  if (std::any_of(job.tensors.begin(), job.tensors.end(), [](const TensorJob& tensor) { return tensor.stores_columns(); }))
    plan.notes.push_back("columns kept in 16 bits are found by calibration and not counted here");
  double bits = 0, weights = 0;
  for (const TensorJob& tensor : job.tensors) {
    const bool embedding = tensor.source->name == spec.embedding + ".weight";
    if (tensor.kind != TensorJob::Kind::quantize) {
      const uint64_t bytes = bytes_of(tensor.decls.front());
      plan.weight_bytes += bytes;
      // One row of an embedding that is not the head as well.
      plan.read_bytes_per_token += embedding && !spec.tied_head ? bytes / static_cast<uint64_t>(spec.vocab) : bytes;
      continue;
    }
    const int64_t rows = tensor.source->shape[0], columns = tensor.source->shape[1];
    PlannedLayer layer = {.name = tensor.module, .scheme = scheme_text(tensor.args), .algorithm = job.steps[tensor.step].algorithm.name,
                          .activations = tensor.inputs ? scheme_text(*tensor.inputs) : "16-bit", .weights = rows * columns};
    for (const TensorDecl& decl : tensor.decls) layer.bytes += bytes_of(decl);
    plan.weight_bytes += layer.bytes;
    plan.read_bytes_per_token += memory_bytes(tensor);
    bits += 8.0 * static_cast<double>(layer.bytes);
    weights += static_cast<double>(layer.weights);
    plan.layers.push_back(std::move(layer));
  }
  plan.bits_per_weight = weights > 0 ? bits / weights : dtype_bits(options.scheme.plain);
  plan.ratio = static_cast<double>(plan.source_bytes) / static_cast<double>(std::max<uint64_t>(1, plan.weight_bytes));
  return plan;
}

}  // namespace codecllm
