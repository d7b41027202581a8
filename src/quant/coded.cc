// SPDX-License-Identifier: Apache-2.0
#include "quant/coded.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "codec/rate.h"
#include "format/affine.h"
#include "format/coded_scheme.h"
#include "format/plain_float.h"
#include "io/coded_tensors.h"
#include "kernels/matrix.h"
#include "io/growing_file.h"
#include "quant/output.h"
#include "quant/rtn.h"

namespace codecllm {

namespace {

namespace fs = std::filesystem;

class Coder {
 public:
  Coder(const Context& context, const Checkpoint& checkpoint, const ModelSpec& spec, const QuantizeOptions& options,
        const Progress& progress, const std::string& directory)
      : pool_(context.impl().pool), checkpoint_(checkpoint), scheme_(*coded_scheme(options.scheme.name)), options_(options),
        progress_(progress), directory_(directory) {
    for (const LinearSpec& linear : select_linears(spec, all_but(options.selection, spec))) selected_.insert(linear.name);
    const auto left_out = [&](const std::string& pattern) { return matches_pattern(pattern, spec.embedding); };
    const auto& ignore = options.selection.ignore;
    if (options.selection.only.empty() && std::none_of(ignore.begin(), ignore.end(), left_out)) selected_.insert(spec.embedding);
    embedding_ = spec.embedding;
  }

  void run() {
    std::vector<TensorDecl> decls;
    for (const TensorInfo* tensor : checkpoint_.tensors()) {
      decls.push_back({tensor->name + "_coded", DType::u8, {int64_t{1} << 50}});
      decls.push_back({tensor->name + "_scale", DType::f32, {int64_t{1} << 40, 1}});
    }
    GrowingFile file(directory_ + "/model.safetensors", decls);
    uint64_t done = 0;
    for (const TensorInfo* tensor : checkpoint_.tensors()) {
      if (progress_ && !progress_(0.7 * static_cast<double>(done) / static_cast<double>(std::max<uint64_t>(1, checkpoint_.total_bytes())), "coding"))
        throw Error(ErrorCode::interrupted, "quantize", "interrupted");
      constexpr std::string_view kWeight = ".weight";
      const bool weight = tensor->name.ends_with(kWeight) && tensor->shape.size() == 2 && is_plain_float(tensor->dtype) && tensor->elements() > 0;
      const std::string module = weight ? tensor->name.substr(0, tensor->name.size() - kWeight.size()) : "";
      if (!weight || !selected_.contains(module) || !code(file, *tensor, module)) file.add(tensor->name, tensor->dtype, tensor->shape, tensor->data);
      checkpoint_.release(*tensor);
      done += tensor->data.size();
    }
    file.commit();
  }

 private:
  // Coded presets take lm_head, too, unless it is the embedding.
  static Selection all_but(Selection selection, const ModelSpec& spec) {
    if (selection.only.empty())
      for (const LinearSpec& linear : spec.linears())
        if (linear.kind != LinearKind::lm_head || !spec.tied_head) selection.only.push_back(linear.name);
    return selection;
  }

  // Answers false where coding would not make it smaller.
  bool code(GrowingFile& file, const TensorInfo& tensor, const std::string& module) {
    const bool exact = scheme_.lossless || module == embedding_;
    const int64_t rows = tensor.shape[0], columns = tensor.shape[1];
    // Scales in the weights' own type, but for F16, whose smallest number may be too large for them.
    const DType scale_dtype = tensor.dtype == DType::f16 && scheme_.rate > 0 ? DType::f32 : tensor.dtype;
    const ScaleType scale_type = scale_dtype == DType::f32 ? ScaleType::f32 : scale_dtype == DType::bf16 ? ScaleType::bf16 : ScaleType::f16;
    UniformRate rate;
    if (!exact && scheme_.rate > 0) rate = rate_of(tensor, dtype_bits(scale_dtype));
    std::vector<float> scales(exact ? 0 : static_cast<size_t>(rows));
    Buffer coded;
    for (int attempt = 0; attempt < 4; ++attempt) {
      Matrix matrix(exact ? element_of(tensor.dtype) : Element::u8, rows, columns, columns, scale_type);
      pool_.parallel_for(static_cast<size_t>(matrix.view().panels()), 2, [&](size_t begin, size_t end, int) {
        for (auto panel = static_cast<int64_t>(begin); panel < static_cast<int64_t>(end); ++panel) {
          if (exact) {
            set_exact(matrix, panel, tensor);
          } else {
            set_codes(matrix, panel, tensor, rate, scale_dtype, scales);
          }
        }
      });
      coded = encode_matrix(pool_, matrix.view(), exact ? coding_of(matrix.view().element) : rate.kind);
      // The rate was chosen on a sample: where the whole takes more, the step grows by what is too much.
      const double bits = 8.0 * static_cast<double>(coded.bytes()) / static_cast<double>(tensor.elements()) +
                          dtype_bits(scale_dtype) / static_cast<double>(columns);
      if (rate.steps_per_rms == 0 || bits <= scheme_.rate) break;
      rate.steps_per_rms *= std::exp2(scheme_.rate - bits - 0.01);
    }
    if (exact && coded.bytes() >= tensor.data.size()) return false;
    file.add(module + kCodedSuffix, DType::u8, {static_cast<int64_t>(coded.bytes())}, std::as_bytes(coded.as<const uint8_t>()));
    if (exact) return true;
    std::vector<std::byte> stored(scales.size() * static_cast<size_t>(dtype_bits(scale_dtype) / 8));
    for (size_t row = 0; row < scales.size(); ++row) store_float(stored.data(), static_cast<int64_t>(row), scale_dtype, scales[row]);
    file.add(module + ".weight_scale", scale_dtype, {rows, 1}, stored);
    return true;
  }

  static void set_exact(Matrix& matrix, int64_t panel, const TensorInfo& tensor) {
    const int64_t first = panel * kPanelRows, count = std::min(kPanelRows, matrix.rows() - first);
    const int64_t row_bytes = matrix.columns() * dtype_bits(tensor.dtype) / 8;
    const void* rows[kPanelRows];
    for (int64_t i = 0; i < count; ++i) rows[i] = tensor.data.data() + (first + i) * row_bytes;
    matrix.set_panel(panel, Matrix::FloatRows(rows, static_cast<size_t>(count)), tensor.dtype);
  }

  void set_codes(Matrix& matrix, int64_t panel, const TensorInfo& tensor, const UniformRate& rate, DType scale_dtype,
                 std::vector<float>& scales) const {
    const int64_t first = panel * kPanelRows, count = std::min(kPanelRows, matrix.rows() - first), columns = matrix.columns();
    std::vector<int8_t> codes(static_cast<size_t>(count * columns));
    std::vector<float> row(static_cast<size_t>(columns));
    const int8_t* source[kPanelRows];
    for (int64_t i = 0; i < count; ++i) {
      read_source_row(tensor, first + i, row);
      const float largest = finite_amax(row);
      if (std::isnan(largest))
        throw Error(ErrorCode::bad_input, "quantize", "NaN or infinity in row " + std::to_string(first + i) + "; the weights are damaged",
                    {.file = checkpoint_.file_of(tensor), .tensor = tensor.name});
      source[i] = codes.data() + i * columns;
      float& scale = scales[first + i];
      if (rate.steps_per_rms > 0) {
        scale = round_to(rate_scale(rate, row), scale_dtype);
        rate_codes(rate, row, scale, codes.data() + i * columns);
      } else {
        scale = symmetric_scale(largest, 8, options_.scale_rule, scale_dtype);
        quantize(row, scale, 8, options_.scale_rule, codes.data() + i * columns);
      }
    }
    matrix.set_panel(panel, Matrix::CodeRows(source, static_cast<size_t>(count)));
  }

  UniformRate rate_of(const TensorInfo& tensor, int scale_bits) const {
    const int64_t rows = tensor.shape[0], columns = tensor.shape[1], panels = (rows + kPanelRows - 1) / kPanelRows;
    std::vector<std::vector<float>> samples(static_cast<size_t>(std::min<int64_t>(4, panels)));
    for (size_t i = 0; i < samples.size(); ++i) {
      const int64_t first = static_cast<int64_t>(i) * panels / static_cast<int64_t>(samples.size()) * kPanelRows;
      const int64_t count = std::min(kPanelRows, rows - first);
      samples[i].resize(static_cast<size_t>(count * columns));
      for (int64_t r = 0; r < count; ++r)
        read_source_row(tensor, first + r, std::span(samples[i]).subspan(static_cast<size_t>(r * columns), static_cast<size_t>(columns)));
    }
    return choose_rate(samples, columns, scheme_.rate, container_bits(rows, columns, scale_bits));
  }

  ThreadPool& pool_;
  const Checkpoint& checkpoint_;
  const CodedScheme scheme_;
  const QuantizeOptions& options_;
  const Progress& progress_;
  const std::string directory_;
  std::set<std::string> selected_;
  std::string embedding_;
};

void write_config(const Checkpoint& checkpoint, const std::string& scheme, const std::string& directory) {
  OrderedJson config = OrderedJson::parse(read_file(checkpoint.config_path()));
  config["quantization_config"] = {{"quant_method", "codecllm"}, {"version", kCodecllmQuantVersion}, {"format", "coded"},
                                   {"scheme", scheme}, {"container", kContainerVersion}};
  write_file_atomically(directory + "/config.json", dump_json(config, 2) + "\n");
}

}  // namespace

QuantizeResult code_checkpoint(const Context& context, const Checkpoint& checkpoint, const ModelSpec& spec,
                               const std::string& output, const QuantizeOptions& options, const Progress& progress) {
  if (!QuantConfig::read(checkpoint.config(), checkpoint.config_path()).method().empty())
    throw Error(ErrorCode::bad_call, "quantize", "the model is quantized already; start from its 16-bit original",
                {.file = checkpoint.config_path()});
  const std::string partial = output + ".partial";
  fs::remove_all(partial);
  fs::create_directories(partial);
  QuantizeResult result;
  try {
    Coder(context, checkpoint, spec, options, progress, partial).run();
    for (const std::string& name : other_files(checkpoint.directory())) fs::copy_file(checkpoint.directory() + "/" + name, partial + "/" + name);
    write_config(checkpoint, options.scheme.name, partial);
    const Checkpoint written(partial);
    VerifyResult verified = verify(context, written, &checkpoint, [&](double done, std::string_view what) {
      return !progress || progress(0.7 + 0.3 * done, what);
    });
    result.layers = std::move(verified.layers);
    result.bad = std::move(verified.bad);
    result.source_bytes = checkpoint.total_bytes();
    result.weight_bytes = written.total_bytes();
    result.notes.push_back("only codecllm loads entropy-coded weights");
    if (!result.bad.empty() && !options.force)
      throw Error(ErrorCode::bad_input, "quantize", result.bad.front() + "; nothing was written (--force writes it all the same)",
                  {.file = checkpoint.directory()});
  } catch (...) {
    fs::remove_all(partial);
    throw;
  }
  fs::rename(partial, output);
  return result;
}

}  // namespace codecllm
