// SPDX-License-Identifier: Apache-2.0
#include "eval/inspect.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <mutex>

#include "codec/encode_tensor.h"
#include "eval/lint.h"
#include "format/plain_float.h"
#include "io/coded_tensors.h"
#include "io/packed_reader.h"
#include "io/quant_config.h"
#include "io/quant_readers.h"
#include "kernels/dispatch.h"
#include "model/weights.h"

namespace codecllm {

namespace {

double entropy(const std::vector<uint64_t>& histogram) {
  double total = 0, bits = 0;
  for (uint64_t count : histogram) total += static_cast<double>(count);
  for (uint64_t count : histogram)
    if (count > 0) bits -= static_cast<double>(count) / total * std::log2(static_cast<double>(count) / total);
  return total > 0 ? bits : 0;
}

CodedReport coded_report(const CodedHeader& header, uint64_t bytes) {
  const CodeShape& shape = header.shape;
  CodedReport report = {.kind = kCodeKindNames[static_cast<int>(shape.kind)], .low_bits = shape.low_bits, .weights = static_cast<int64_t>(header.rows * header.columns)};
  for (const int digit : shape.digit_bits)
    if (digit > 0) report.digits.push_back(digit);
  report.bits_per_weight = 8 * static_cast<double>(bytes) / static_cast<double>(report.weights);
  return report;
}

class Inspector {
 public:
  Inspector(const Context& context, const Checkpoint& checkpoint) : context_(context), checkpoint_(checkpoint) {}

  InspectResult run(const Progress& progress) {
    spec_ = read_spec(checkpoint_);
    config_ = QuantConfig::read(checkpoint_.config(), checkpoint_.config_path());
    result_.family = spec_.family;
    result_.parameters = spec_.parameters();
    result_.weight_bytes = checkpoint_.total_bytes();
    uint64_t done = 0;
    for (const TensorInfo* tensor : checkpoint_.tensors()) {
      if (progress && !progress(static_cast<double>(done) / static_cast<double>(std::max<uint64_t>(1, result_.weight_bytes)), "inspecting"))
        throw Error(ErrorCode::interrupted, "inspect", "interrupted");
      look_at(*tensor);
      checkpoint_.release(*tensor);
      done += tensor->data.size();
    }
    look_at_layers();
    look_at_zero_points();
    look_at_files();
    if (result_.scales.count > 0) result_.scales.mean /= static_cast<double>(result_.scales.count);
    return std::move(result_);
  }

 private:
  void problem(bool error, std::string text, std::string remedy) {
    result_.problems.push_back({error, std::move(text), std::move(remedy)});
  }

  void look_at(const TensorInfo& tensor) {
    TensorReport report = {.name = tensor.name, .dtype = std::string(dtype_name(tensor.dtype)), .shape = tensor.shape,
                           .bytes = tensor.data.size()};
    ++result_.dtypes[report.dtype];
    if (tensor.name.find("norm") != std::string::npos) ++result_.kinds["norm"];
    if (is_plain_float(tensor.dtype)) look_at_floats(tensor, report);
    if (tensor.name.ends_with(".weight_scale")) look_at_scales(tensor);
    if (tensor.dtype == DType::f8_e4m3 || tensor.dtype == DType::f8_e5m2 || tensor.dtype == DType::f8_e8m0) look_at_bytes(tensor, report);
    tell_of_sick(report);
    result_.tensors.push_back(std::move(report));
  }

  void tell_of_sick(const TensorReport& report) {
    if (report.not_finite > 0)
      problem(true, report.name + " holds " + std::to_string(report.not_finite) + " values that are not finite",
              "the file is damaged or was made by a run that diverged; fetch or convert it again");
  }

  // Counts are sums of integers, so the order in which threads add theirs does not matter.
  void look_at_floats(const TensorInfo& tensor, TensorReport& report) {
    const bool halves = tensor.dtype != DType::f32;
    std::vector<uint64_t> histogram(halves ? 65536 : 0);
    std::mutex lock;
    report.min = std::numeric_limits<float>::infinity();
    report.max = -report.min;
    context_.impl().pool.parallel_for(static_cast<size_t>(tensor.elements()), size_t{1} << 20, [&](size_t begin, size_t end, int) {
      std::vector<uint64_t> counts(histogram.size());
      int64_t sick = 0;
      float low = std::numeric_limits<float>::infinity(), high = -low;
      for (size_t i = begin; i < end; ++i) {
        const float value = load_float(tensor.data.data(), static_cast<int64_t>(i), tensor.dtype);
        if (halves) {
          uint16_t bits;
          std::memcpy(&bits, tensor.data.data() + 2 * i, 2);
          ++counts[bits];
        }
        if (!std::isfinite(value)) {
          ++sick;
          continue;
        }
        low = std::min(low, value);
        high = std::max(high, value);
      }
      const std::lock_guard guard(lock);
      for (size_t i = 0; i < counts.size(); ++i) histogram[i] += counts[i];
      report.not_finite += sick;
      report.min = std::min(report.min, low);
      report.max = std::max(report.max, high);
    });
    report.entropy_bits = entropy(histogram);
  }

  // E4M3 has NaN alone, E5M2 infinity too, E8M0 is a scale.
  static void look_at_bytes(const TensorInfo& tensor, TensorReport& report) {
    for (const std::byte b : tensor.data) {
      const int code = std::to_integer<int>(b);
      report.not_finite += tensor.dtype == DType::f8_e4m3 ? (code & 0x7f) == 0x7f : tensor.dtype == DType::f8_e5m2 ? (code & 0x7f) >= 0x7c : code == 0xff;
    }
  }

  void look_at_scales(const TensorInfo& tensor) {
    if (!is_scale_type(tensor.dtype)) return;
    ScaleReport& scales = result_.scales;
    const int64_t n = tensor.elements();
    int64_t zeros = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double value = load_scale(tensor.data.data(), i, tensor.dtype);
      if (!std::isfinite(value)) continue;  // told with the tensor's values
      zeros += value == 0 ? 1 : 0;
      if (scales.count + i == 0 || value < scales.min) scales.min = value;
      if (scales.count + i == 0 || value > scales.max) scales.max = value;
      scales.mean += value;
    }
    ++scales.dtypes[std::string(dtype_name(tensor.dtype))];
    scales.count += n;
    scales.zeros += zeros;
    if (zeros > 0)
      problem(true, tensor.name + " has " + std::to_string(zeros) + " scales that are zero",
              "quantize again: rows of zeros need a scale above zero");
  }

  void look_at_layers() {
    ++result_.kinds["embedding"];
    for (const PlainTensorSpec& tensor : spec_.plain_tensors()) need(tensor.name, tensor.shape);
    double bits = 0, weights = 0;
    struct Refusal {
      std::string alike, first;  // what is wrong without the module's name, and with it, of the first that has it
      int layers;
    };
    std::vector<Refusal> refusals;
    for (const LinearSpec& linear : spec_.linears()) {
      if (linear.kind == LinearKind::lm_head && spec_.tied_head) continue;
      ++result_.linear_layers;
      ++result_.kinds[linear.kind == LinearKind::attention ? "attention" : linear.kind == LinearKind::mlp ? "mlp" : "lm_head"];
      const auto n = static_cast<double>(linear.rows) * static_cast<double>(linear.columns);
      try {
        const double layer_bits = 8 * layer_bytes(linear);
        if (!config_.method().empty() && !is_stored_quantized(checkpoint_, linear.name) && checkpoint_.find(linear.name + kCodedSuffix) == nullptr) continue;
        bits += layer_bits;
        weights += n;
      } catch (const Error& error) {
        std::string text = error.what();
        for (size_t at; (at = text.find(linear.name)) != text.npos;) text.erase(at, linear.name.size());
        const auto same = std::find_if(refusals.begin(), refusals.end(), [&](const Refusal& other) { return other.alike == text; });
        if (same != refusals.end()) {
          ++same->layers;
        } else {
          refusals.push_back({text, error.what(), 1});
        }
      }
    }
    for (const Refusal& refusal : refusals)
      problem(true, refusal.first + (refusal.layers > 1 ? ", the first of " + std::to_string(refusal.layers) + " layers" : ""),
              "what cannot be read is not loaded: mend what is named, or fetch the model again or quantize it again");
    result_.bits_per_weight = weights > 0 ? bits / weights : 0;
  }

  void need(const std::string& name, const std::vector<int64_t>& shape) {
    const TensorInfo* tensor = checkpoint_.find(name);
    if (tensor == nullptr && name.ends_with(".weight") && checkpoint_.find(name.substr(0, name.size() - 7) + kCodedSuffix) != nullptr) {
      look_at_coded(name.substr(0, name.size() - 7), shape);
      return;
    }
    if (tensor == nullptr)
      problem(true, name + " is missing", "fetch the model again; it cannot be loaded without");
    else if (tensor->shape != shape)
      problem(true, name + " has another shape than config.json says", "config.json and weights are of different models");
    else if (!is_plain_float(tensor->dtype))
      problem(true, name + " has the type " + std::string(dtype_name(tensor->dtype)), "F32, BF16 or F16 is expected; save the model again");
  }

  // Bytes of a coded matrix and its scales.
  uint64_t look_at_coded(const std::string& module, const std::vector<int64_t>& shape) {
    const CodedTensors tensors = coded_tensors(checkpoint_, module);
    const CodedTensor& coded = tensors.opened;
    if (shape != std::vector<int64_t>{static_cast<int64_t>(coded.header.rows), static_cast<int64_t>(coded.header.columns)})
      problem(true, tensors.place.tensor + " has another shape than config.json says", "config.json and weights are of different models");
    const auto it = std::find_if(result_.tensors.begin(), result_.tensors.end(), [&](const TensorReport& t) { return t.name == tensors.place.tensor; });
    if (it != result_.tensors.end()) {
      const CodedContents contents = coded_contents(context_.impl().pool, coded, kernels_for(context_.impl().isa).decode_panel);
      it->entropy_bits = contents.entropy_bits;
      it->not_finite = contents.not_finite;
      tell_of_sick(*it);
      it->coded = coded_report(coded.header, it->bytes);
    }
    return tensors.coded->data.size() + (tensors.scales != nullptr ? tensors.scales->data.size() : 0);
  }

  double layer_bytes(const LinearSpec& linear) {
    if (checkpoint_.find(linear.name + kCodedSuffix) != nullptr) {
      ++result_.schemes["coded"];
      return static_cast<double>(look_at_coded(linear.name, {linear.rows, linear.columns}));
    }
    const QuantGroup* group = config_.group_for(linear.name);
    const bool told = group != nullptr && group->scheme.weights, stored = is_stored_quantized(checkpoint_, linear.name);
    if (stored && !told)
      throw Error(ErrorCode::bad_input, "inspect",
                  config_.method().empty() ? "is stored as codes, and config.json has no quantization_config"
                                           : "is stored as codes, and quantization_config does not say how to read them: it stands in \"ignore\", or in the targets of no group",
                  {.tensor = linear.name});
    if (!stored) {
      const TensorInfo& weight = need_floats(checkpoint_, linear.name + ".weight", {linear.rows, linear.columns});
      ++result_.schemes[std::string(dtype_name(weight.dtype))];
      return static_cast<double>(weight.data.size());
    }
    ++result_.schemes[group->scheme.name];
    const QuantArgs& args = *group->scheme.weights;
    const PackedTensors tensors = packed_tensors(checkpoint_, linear.name, *group);
    check_shape({tensors.rows, tensors.columns}, {linear.rows, linear.columns}, {.tensor = linear.name});
    measure_codes(tensors.codes->name, PackedReader(tensors, args));
    return static_cast<double>(packed_bytes(tensors));
  }

  void measure_codes(const std::string& name, const PackedReader& reader) {
    std::vector<uint64_t> histogram(256);
    std::vector<int8_t> codes(static_cast<size_t>(reader.columns()));
    double steps = 0;
    for (int64_t row = 0; row < reader.rows(); ++row) {
      reader.codes(row, codes.data());
      for (int8_t code : codes) {
        ++histogram[static_cast<uint8_t>(code)];
        steps += code;
      }
      for (int64_t g = 0; g < reader.groups(); ++g)
        steps -= static_cast<double>(std::min(reader.group(), reader.columns() - g * reader.group())) * reader.zero(row, g);
    }
    if (!reader.args().symmetric && reader.args().num_bits <= 4) mean_steps_.push_back(steps / static_cast<double>(reader.rows() * reader.columns()));
    const auto it = std::find_if(result_.tensors.begin(), result_.tensors.end(), [&](const TensorReport& t) { return t.name == name; });
    if (it != result_.tensors.end()) it->entropy_bits = entropy(histogram);
  }

  // The weights of a layer have a mean near zero: within a tenth of a step of few bits, on either side. Where it is more than half
  // a step in most layers, the zero points are one too large or too small. (Of eight bits a mean may be a step or two.)
  void look_at_zero_points() {
    if (mean_steps_.empty()) return;
    const auto middle = mean_steps_.begin() + static_cast<ptrdiff_t>(mean_steps_.size() / 2);
    std::nth_element(mean_steps_.begin(), middle, mean_steps_.end());
    if (std::fabs(*middle) <= 0.5) return;
    char text[200];
    std::snprintf(text, sizeof text, "the weights of most layers are %+.2f steps from zero on average, where the mean of a layer is near zero: the zero points are "
                  "told by another convention", *middle);
    problem(true, text, "GPTQ: set checkpoint_format to gptq_v2 if it is gptq, or the other way round; else ask the writer whether one is to be added or taken off; then compare the perplexity");
  }

  // Whether config.json says so itself, and no translator of another layout.
  bool stored_as_told() const {
    if (checkpoint_.gguf() != nullptr) return false;
    const Json config = read_json_file(checkpoint_.config_path());
    const Json* quantization = find_quantization(config);
    return quantization != nullptr && quantization->is_object() && json_or<std::string>(*quantization, "quant_method", "", checkpoint_.config_path()) == config_.method();
  }

  void look_at_files() {
    for (Problem& found : lint(checkpoint_, spec_, config_)) result_.problems.push_back(std::move(found));
    if (stored_as_told())
      for (std::string& sentence : readers_of(config_.method(), config_.groups()))
        problem(false, std::move(sentence), "vLLM and transformers load what int8, int4-g128, w8a8 and fp8 give");
    const TensorInfo* head = spec_.tied_head ? nullptr : checkpoint_.find(spec_.lm_head + ".weight");
    if (head != nullptr && is_plain_float(head->dtype) && config_.group_for(spec_.lm_head) != nullptr)
      problem(false, "lm_head is stored in 16 bits and not in the ignore list, so transformers will expect codes for it",
              "add \"lm_head\" to quantization_config.ignore");
  }

  const Context& context_;
  const Checkpoint& checkpoint_;
  ModelSpec spec_;
  QuantConfig config_;
  InspectResult result_;
  std::vector<double> mean_steps_;  // of layers with zero points and at most four bits: the mean of code - zero point
};

}  // namespace

InspectResult inspect(const Context& context, const Checkpoint& checkpoint, const Progress& progress) {
  return Inspector(context, checkpoint).run(progress);
}

}  // namespace codecllm
