// SPDX-License-Identifier: Apache-2.0
#include "quant/convert.h"

#include <algorithm>

#include "base/clock.h"
#include "model/weights.h"
#include "quant/convert_job.h"

namespace codecllm {

namespace {

struct TargetRow {
  const char* name;
  void (*write)(ConvertJob& job);
};

constexpr TargetRow kConvertTargets[] = {
#define CONVERT_TARGET(name, function) {name, convert_target::function},
#include "quant/convert_target.def"
#undef CONVERT_TARGET
};

}  // namespace

std::vector<std::string> convert_formats() {
  std::vector<std::string> names;
  for (const TargetRow& row : kConvertTargets) names.emplace_back(row.name);
  return names;
}

int64_t ConvertResult::exact() const {
  return std::count_if(tensors.begin(), tensors.end(), [](const ConvertedTensor& tensor) { return tensor.exact; });
}

int64_t ConvertResult::requantized() const { return static_cast<int64_t>(tensors.size()) - exact(); }

double ConvertResult::max_error() const {
  double largest = 0;
  for (const ConvertedTensor& tensor : tensors) largest = std::max(largest, tensor.max_error);
  return largest;
}

ConvertResult convert_checkpoint(const Context& context, const std::string& model, const std::string& output,
                                 const ConvertOptions& options, const Progress& progress) {
  Stopwatch clock;
  std::string known;
  for (const TargetRow& row : kConvertTargets) {
    known += (known.empty() ? "" : ", ") + std::string(row.name);
    if (options.format != row.name) continue;
    refuse_existing_output(output);
    const Checkpoint checkpoint(model);
    const ModelSpec spec = read_spec(checkpoint);
    check_companions(checkpoint);
    ConvertJob job = {context, checkpoint, spec, QuantConfig::read(checkpoint.config(), checkpoint.config_path()), output, options, progress, {}};
    row.write(job);
    job.result.source_bytes = checkpoint.total_bytes();
    job.result.seconds = clock.seconds();
    return std::move(job.result);
  }
  throw Error(ErrorCode::bad_call, "convert", "no format '" + options.format + "'; there are: " + known);
}

}  // namespace codecllm
