// SPDX-License-Identifier: Apache-2.0
#include "quant/verify.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <set>

#include "format/affine.h"
#include "format/plain_float.h"
#include "io/checksums.h"
#include "io/coded_tensors.h"
#include "model/weights.h"
#include "quant/coded.h"
#include "quant/provenance.h"

namespace codecllm {

namespace {

constexpr size_t kSlabBytes = size_t{16} << 20;

// Index of the first value that is not finite, or -1.
int64_t first_not_finite(const Context& context, const TensorInfo& tensor, std::span<const std::byte> slab) {
  constexpr size_t kPiece = 65536;
  const auto bytes = static_cast<size_t>(dtype_bits(tensor.dtype) / 8), elements = slab.size() / bytes;
  std::vector<int64_t> found((elements + kPiece - 1) / kPiece, -1);
  context.impl().pool.parallel_for(found.size(), 1, [&](size_t begin, size_t end, int) {
    std::vector<float> values;
    for (size_t piece = begin; piece < end; ++piece) {
      const size_t first = piece * kPiece, count = std::min(kPiece, elements - first);
      values.resize(count);
      load_floats(slab.data(), static_cast<int64_t>(first), tensor.dtype, values);
      const auto bad = std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
      if (bad != values.end()) found[piece] = static_cast<int64_t>(first) + (bad - values.begin());
    }
  });
  for (int64_t index : found)
    if (index >= 0) return index;
  return -1;
}

std::string not_finite_text(const TensorInfo* source, int64_t index, DType type) {
  bool overflow = source != nullptr && is_plain_float(source->dtype) && index < source->elements();
  if (overflow) {
    const float value = load_float(source->data.data(), index, source->dtype);
    overflow = std::isfinite(value) && std::isinf(round_to(value, type));
  }
  return "element " + std::to_string(index) + (overflow ? " is too large for " + std::string(dtype_name(type)) : " is not finite");
}

// Index of the first value of `got` that is not the source's value converted, or -1.
int64_t first_not_converted(const TensorInfo& got, const TensorInfo& source, size_t first, size_t count) {
  for (auto i = static_cast<int64_t>(first); i < static_cast<int64_t>(first + count); ++i)
    if (load_float(got.data.data(), i, got.dtype) != round_to(load_float(source.data.data(), i, source.dtype), got.dtype))
      return i;
  return -1;
}

class Verifier {
 public:
  Verifier(const Context& context, const Checkpoint& checkpoint, const Checkpoint* reference)
      : context_(context),
        checkpoint_(checkpoint),
        reference_(reference),
        config_(QuantConfig::read(checkpoint.config(), checkpoint.config_path())),
        provenance_(read_provenance(checkpoint.directory())),
        expected_(checkpoint, [this](const std::string& name, const std::string& what) { complain(name, what); }) {
    if (reference == nullptr || provenance_.factors.empty()) return;
    spec_ = read_spec(*reference);
    smoothed_.emplace(*reference, spec_);
    smoothed_->add_all(provenance_.factors, checkpoint.directory() + "/" + kProvenanceFile);
  }

  VerifyResult run(const Progress& progress) {
    result_.tensors = static_cast<int64_t>(checkpoint_.tensors().size());
    result_.bytes = checkpoint_.total_bytes();
    uint64_t done = 0;
    for (const TensorInfo* tensor : checkpoint_.tensors()) {
      if (progress && !progress(static_cast<double>(done) / static_cast<double>(std::max<uint64_t>(1, result_.bytes)), "verifying"))
        throw Error(ErrorCode::interrupted, "verify", "interrupted");
      expected_.intact(context_.impl().pool, *tensor) ? check(*tensor) : tell_damaged(tensor->name);
      checkpoint_.release(*tensor);
      done += tensor->data.size();
    }
    for (const std::string& name : expected_.others(context_.impl().pool)) tell_damaged(name);
    result_.checksums = expected_.checked();
    check_complete();
    check_needed();
    if (result_.unlike > 0) result_.unlike += unlike_layers_;
    // Where the checksums say that nothing is damaged and yet not one layer is like the reference's, the reference is wrong.
    const auto like = [](const LayerReport& layer) { return layer.sqnr_db > 0 || layer.correlation >= kLeastCorrelation; };
    result_.unlike_reference = reference_ != nullptr && quantized_ > 0 && result_.checksums > 0 && damaged_ == 0 &&
                               std::none_of(result_.layers.begin(), result_.layers.end(), like);
    return std::move(result_);
  }

 private:
  void tell_damaged(const std::string& name) {
    ++damaged_;
    complain(name, "its bytes are not those that were written");
  }

  void check(const TensorInfo& tensor) {
    const bool packed = !module_of_codes(tensor).empty(), coded = tensor.name.ends_with(kCodedSuffix);
    if (packed || coded) ++quantized_;
    if (packed) check_packed(tensor);
    if (coded) check_coded(tensor);
    if (is_plain_float(tensor.dtype)) check_plain(tensor);
  }

  void complain(const std::string& name, const std::string& what) {
    named_.insert(name);
    result_.bad.push_back(name + ": " + what);
  }

  // A plain tensor, as conversions and the smoothing of other programs leave them, too; the latter changes layers with it.
  void tell_unlike(const std::string& name, const std::string& what) {
    complain(name, what);
    if (!provenance_.known) ++result_.unlike;
  }

  void check_packed(const TensorInfo& packed) {
    const std::string module = module_of_codes(packed);
    const QuantGroup* group = config_.group_for(module);
    if (group == nullptr || !group->scheme.weights) return complain(packed.name, "config.json gives no scheme for this layer");
    try {
      const PackedTensors tensors = packed_tensors(checkpoint_, module, *group);
      const TensorInfo* source = reference_ != nullptr ? reference_->find(module + ".weight") : nullptr;
      if (reference_ != nullptr && (source == nullptr || source->shape != std::vector<int64_t>{tensors.rows, tensors.columns}))
        return complain(module, "the reference has no weight of this shape");
      const auto rows_done = [&](int64_t first, int64_t count) {
        release_rows(checkpoint_, *tensors.codes, first, count);
        if (source != nullptr) release_rows(*reference_, *source, first, count);
      };
      const std::vector<int32_t> outliers = outlier_columns_of(tensors);
      LayerReport report = check_layer(context_, module, PackedReader(tensors, *group->scheme.weights), *group->scheme.weights,
                                       {source, smoothed_ ? &*smoothed_ : nullptr, provenance_.is_nearest(module), provenance_.rounded_again, outliers, tensors.outlier_weight},
                                       rows_done);
      report.bytes = packed_bytes(tensors);
      if (!report.problem.empty()) complain(module, report.problem);
      unlike_layers_ += report.unlike ? 1 : 0;
      if (group->scheme.activations && !group->scheme.activations->dynamic) report.bytes += fixed_input_bytes(module);
      result_.layers.push_back(std::move(report));
    } catch (const Error& error) {
      complain(module, error.what());
    }
  }

  void check_coded(const TensorInfo& coded) {
    const std::string module = coded.name.substr(0, coded.name.size() - std::string_view(kCodedSuffix).size());
    try {
      LayerReport report = check_coded_layer(context_, checkpoint_, module, reference_);
      if (!report.problem.empty()) complain(module, report.problem);
      result_.layers.push_back(std::move(report));
    } catch (const Error& error) {
      complain(module, error.what());
    }
  }

  // Checks the scale.
  uint64_t fixed_input_bytes(const std::string& module) const {
    fixed_input_scale(checkpoint_, module);
    uint64_t bytes = 0;
    for (const char* part : {".input_scale", ".input_zero_point"})
      if (const TensorInfo* tensor = checkpoint_.find(module + part)) bytes += tensor->data.size();
    return bytes;
  }

  static void release_rows(const Checkpoint& checkpoint, const TensorInfo& tensor, int64_t first, int64_t count) {
    const size_t row = tensor.data.size() / static_cast<size_t>(tensor.shape[0]);
    checkpoint.release(tensor, tensor.data.subspan(static_cast<size_t>(first) * row, static_cast<size_t>(count) * row));
  }

  void check_plain(const TensorInfo& tensor) {
    const TensorInfo* source = nullptr;
    const auto ends = [&](const char* ending) { return tensor.name.ends_with(ending); };
    if (reference_ != nullptr && !ends(".weight_scale") && !ends(".input_scale") && !ends(".outlier_weight")) {
      source = reference_->find(tensor.name);
      if (source == nullptr || source->shape != tensor.shape || !is_plain_float(source->dtype))
        return complain(tensor.name, "the reference has no tensor of this name, shape and kind");
    }
    if (source != nullptr && smoothed_ && smoothed_->changes(tensor.name)) {
      check_smoothed(tensor, *source);
      source = nullptr;
    }
    const auto bytes = static_cast<size_t>(dtype_bits(tensor.dtype) / 8);
    for (size_t at = 0; at < tensor.data.size(); at += kSlabBytes) {
      const auto slab = tensor.data.subspan(at, std::min(kSlabBytes, tensor.data.size() - at));
      if (const int64_t bad = first_not_finite(context_, tensor, slab); bad >= 0)
        return complain(tensor.name, not_finite_text(source, static_cast<int64_t>(at / bytes) + bad, tensor.dtype));
      if (source != nullptr && !check_against(tensor, *source, at, slab)) return;
      checkpoint_.release(tensor, slab);
    }
  }

  // A vector that is divided by factors of its own.
  void check_smoothed(const TensorInfo& tensor, const TensorInfo& source) {
    std::vector<float> expected(static_cast<size_t>(source.elements()));
    smoothed_->read(source, 0, expected);
    for (size_t i = 0; i < expected.size(); ++i)
      if (tensor.dtype != source.dtype || load_float(tensor.data.data(), static_cast<int64_t>(i), tensor.dtype) != expected[i])
        return complain(tensor.name, "element " + std::to_string(i) + " is not the reference's, divided by its factor");
  }

  bool check_against(const TensorInfo& tensor, const TensorInfo& source, size_t at, std::span<const std::byte> slab) {
    const auto bytes = static_cast<size_t>(dtype_bits(tensor.dtype) / 8);
    if (source.dtype == tensor.dtype) {
      const auto same = source.data.subspan(at, slab.size());
      if (std::memcmp(same.data(), slab.data(), slab.size()) != 0) {
        const int64_t sick = first_not_finite(context_, source, same);
        if (sick >= 0) {
          complain(tensor.name, "element " + std::to_string(at / bytes + static_cast<size_t>(sick)) + " of the source is not finite");
        } else {
          tell_unlike(tensor.name, "differs from the reference");
        }
        return false;
      }
      reference_->release(source, same);
      return true;
    }
    const int64_t bad = first_not_converted(tensor, source, at / bytes, slab.size() / bytes);
    if (bad < 0) return true;
    if (std::isfinite(load_float(source.data.data(), bad, source.dtype))) {
      tell_unlike(tensor.name, "element " + std::to_string(bad) + " is not the reference's, converted");
    } else {
      complain(tensor.name, "element " + std::to_string(bad) + " of the source is not finite");
    }
    return false;
  }

  // A tensor of the reference that is neither here nor quantized here is missing.
  void check_complete() {
    if (reference_ == nullptr) return;
    std::set<std::string> modules;
    for (const LayerReport& layer : result_.layers) modules.insert(layer.name + ".weight");
    for (const TensorInfo* tensor : reference_->tensors())
      if (checkpoint_.find(tensor->name) == nullptr && !modules.contains(tensor->name) &&
          checkpoint_.find(tensor->name + "_packed") == nullptr && checkpoint_.find(tensor->name + "_coded") == nullptr)
        complain(tensor->name, "is in the reference and missing here");
  }

  // What load_model would refuse, of tensors that are not bad anyway.
  void check_needed() {
    const auto told = [&](const Error& error) {
      const std::string& name = error.place().tensor;
      if (!named_.contains(name) && !named_.contains(name.substr(0, name.rfind('.')))) result_.bad.push_back(error.what());
    };
    try {
      check_tensors(read_spec(checkpoint_), checkpoint_, told);
    } catch (const Error& error) {
      // Of a family that is not here, the tensors are all there is to look at.
      if (error.code() != ErrorCode::unsupported) told(error);
    }
  }

  const Context& context_;
  const Checkpoint& checkpoint_;
  const Checkpoint* reference_;
  const QuantConfig config_;
  const Provenance provenance_;
  int64_t unlike_layers_ = 0;  // quantized ones that are bad beside the reference
  ModelSpec spec_;
  std::optional<SmoothedSource> smoothed_;
  VerifyResult result_;
  std::set<std::string> named_;  // tensors and modules that are bad
  int64_t quantized_ = 0, damaged_ = 0;  // layers; tensors whose checksum is another
  ExpectedChecksums expected_;  // complains into result_
};

}  // namespace

VerifyResult verify(const Context& context, const Checkpoint& checkpoint, const Checkpoint* reference,
                    const Progress& progress) {
  return Verifier(context, checkpoint, reference).run(progress);
}

}  // namespace codecllm
