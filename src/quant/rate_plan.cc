// SPDX-License-Identifier: Apache-2.0
#include "quant/rate_plan.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "model/weights.h"
#include "quant/coded.h"
#include "quant/rtn.h"

namespace codecllm {

namespace {

constexpr double kLeastBits = 2, kMostBits = 8, kBitStep = 1.0 / 64;

double bits_at(const PlannedRate& layer, double log_theta) {
  const double energy = layer.sensitivity * layer.energy;
  const double bits = energy > 0 ? 0.5 * (std::log2(energy) - log_theta) : kLeastBits;
  return std::clamp(std::floor(bits / kBitStep) * kBitStep, kLeastBits, kMostBits);
}

double sum_at(const std::vector<PlannedRate>& layers, double log_theta) {
  double sum = 0;
  for (const PlannedRate& layer : layers) sum += bits_at(layer, log_theta) * static_cast<double>(layer.weights);
  return sum;
}

// The diagonal of X^T X of what each linear layer of the blocks reads.
class DiagonalOfInputs {
 public:
  DiagonalOfInputs(const Context& context, const Checkpoint& checkpoint, const ModelSpec& spec, const CalibrationOptions& options,
                   const std::string& scratch_directory, const Progress& progress) {
    const CalibrationSamples samples = calibration_samples(checkpoint.directory(), spec, options);
    BlockRunner runner(context, checkpoint, spec, samples, scratch_directory);
    for (int64_t layer = 0; layer < spec.layers; ++layer) {
      BlockStatistics statistics = runner.statistics(layer, kChannelStatistics);
      runner.run(load_block(context, checkpoint, spec, layer), layer, &statistics, layer + 1 < spec.layers, [&](double done) {
        if (!progress || progress((static_cast<double>(layer) + done) / static_cast<double>(spec.layers), "calibrating")) return true;
        throw Error(ErrorCode::interrupted, "calibrate", "interrupted; the look at the layers' inputs starts over when the command is given again");
      });
      for (const BlockInput& input : block_inputs(spec, layer)) {
        const std::vector<double> diagonal = statistics.find(input.tap)->second.channel_mean_square();
        for (const LinearSpec& reader : input.readers) of_[reader.name] = diagonal;
      }
    }
  }

  // All ones for layers outside the blocks.
  std::vector<double> of(const std::string& module, int64_t columns) const {
    const auto it = of_.find(module);
    return it != of_.end() ? it->second : std::vector<double>(static_cast<size_t>(columns), 1.0);
  }

 private:
  std::map<std::string, std::vector<double>> of_;
};

// Energy and sensitivity of one layer.
PlannedRate study(const TensorJob& tensor, const DiagonalOfInputs* inputs) {
  const int64_t rows = tensor.source->shape[0], columns = tensor.source->shape[1];
  std::vector<double> squares(static_cast<size_t>(columns));
  std::vector<float> row(squares.size());
  for (int64_t r = 0; r < rows; ++r) {
    read_source_row(*tensor.source, r, row);
    for (size_t k = 0; k < row.size(); ++k) squares[k] += static_cast<double>(row[k]) * row[k];
  }
  PlannedRate layer = {.name = tensor.module, .weights = rows * columns};
  for (const double square : squares) layer.energy += square / static_cast<double>(layer.weights);
  const std::vector<double> h = inputs != nullptr ? inputs->of(tensor.module, columns) : std::vector<double>(squares.size(), 1.0);
  double mean = 0, output = 0;
  for (size_t k = 0; k < h.size(); ++k) {
    mean += h[k] / static_cast<double>(columns);
    output += h[k] * squares[k];
  }
  layer.sensitivity = output > 0 ? mean / output : 0;
  // Of inputs that nobody has seen, halfway (in bits) between this and errors that count alike everywhere.
  if (inputs == nullptr) layer.sensitivity = std::sqrt(layer.sensitivity);
  return layer;
}

// Bytes of everything but the layers that a rate is chosen for.
uint64_t other_bytes(const Context& context, const Checkpoint& checkpoint, const QuantizeJob& job) {
  uint64_t bytes = 0;
  for (const TensorJob& tensor : job.tensors) {
    bytes += 16;  // of the file's header beyond the declaration
    for (const TensorDecl& decl : tensor.decls) bytes += decl.name.size() + 112;
    if (tensor.rated()) continue;
    const auto coded = tensor.kind == TensorJob::Kind::code
                           ? code_matrix(context, checkpoint, tensor, ScaleRule::restricted, {}, [](uint64_t, std::span<const std::byte>) {})
                           : std::nullopt;
    bytes += coded ? coded->bytes + coded->scales.size() : tensor.source->data.size();
  }
  return bytes + 4096;
}

}  // namespace

void fill_water(std::vector<PlannedRate>& layers, double bits) {
  double weights = 0;
  for (const PlannedRate& layer : layers) weights += static_cast<double>(layer.weights);
  if (bits < kLeastBits * weights)
    throw Error(ErrorCode::bad_call, "rates", "the target is below " + std::to_string(kLeastBits).substr(0, 3) +
                                                  " bits per weight, the least that coded layers take");
  double low = -400, high = 400;  // log2 of theta: at low too many bits, at high few enough
  for (int i = 0; i < 80; ++i) {
    const double middle = 0.5 * (low + high);
    (sum_at(layers, middle) > bits ? low : high) = middle;
  }
  for (PlannedRate& layer : layers) layer.bits = bits_at(layer, high);
}

std::vector<PlannedRate> study_rates(const Context& context, const Checkpoint& checkpoint, const ModelSpec& spec,
                                     const CalibrationOptions& calibration, const QuantizeJob& job,
                                     const std::string& scratch_directory, const Progress& progress) {
  std::optional<DiagonalOfInputs> inputs;
  if (!calibration.text.empty()) {
    make_directories(scratch_directory);
    inputs.emplace(context, checkpoint, spec, calibration, scratch_directory, progress);
  }
  std::vector<PlannedRate> layers;
  for (const TensorJob& tensor : job.tensors)
    if (tensor.rated()) layers.push_back(study(tensor, inputs ? &*inputs : nullptr));
  return layers;
}

std::vector<PlannedRate> plan_rates(const Context& context, const Checkpoint& checkpoint, const ModelSpec& spec,
                                    const RateTarget& target, const CalibrationOptions& calibration, QuantizeJob& job,
                                    const std::string& scratch_directory, const Progress& progress) {
  std::vector<PlannedRate> layers = study_rates(context, checkpoint, spec, calibration, job, scratch_directory, progress);
  double weights = 0;
  for (const PlannedRate& layer : layers) weights += static_cast<double>(layer.weights);
  double bits = target.bits.value_or(0) * weights;
  if (target.bytes) {
    const uint64_t others = other_bytes(context, checkpoint, job);
    if (*target.bytes <= others)
      throw Error(ErrorCode::bad_call, "rates", "what is not quantized takes " + std::to_string(others) + " bytes alone; ask for more");
    bits = 8.0 * static_cast<double>(*target.bytes - others);
  }
  fill_water(layers, bits);
  auto layer = layers.begin();
  for (TensorJob& tensor : job.tensors)
    if (tensor.rated()) tensor.coded.rate = (layer++)->bits;
  return layers;
}

}  // namespace codecllm
