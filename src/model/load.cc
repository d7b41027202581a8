// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <optional>

#include "format/plain_float.h"
#include "io/coded_tensors.h"
#include "io/packed_reader.h"
#include "io/quant_config.h"
#include "kernels/dispatch.h"
#include "model/weights.h"

namespace codecllm {

namespace {

class Loader {
 public:
  Loader(const Context& context, const Checkpoint& checkpoint, const ModelSpec& spec, const Progress& progress, bool mapped)
      : pool_(context.impl().pool),
        kernels_(kernels_for(context.impl().isa)),
        checkpoint_(checkpoint),
        spec_(spec),
        config_(QuantConfig::read(checkpoint.config(), checkpoint.config_path())),
        progress_(progress),
        mapped_(mapped) {
    const auto it = checkpoint.config().find("quantization_config");
    if (it != checkpoint.config().end() && it->is_object()) coded_name_ = json_or<std::string>(*it, "scheme", coded_name_, checkpoint.config_path());
  }

  ModelWeights load() {
    ModelWeights weights;
    weights.embedding = load_plain(spec_.embedding, spec_.vocab, spec_.hidden);
    for (int64_t layer = 0; layer < spec_.layers; ++layer) {
      report(layer);
      weights.blocks.push_back(load_block(layer));
    }
    report(spec_.layers);
    weights.final_norm = load_vector(spec_.final_norm + ".weight", spec_.hidden);
    if (!spec_.tied_head) weights.lm_head = load_matrix(spec_.lm_head, spec_.vocab, spec_.hidden);
    return weights;
  }

  BlockWeights load_block(int64_t layer) {
    const BlockNames names = spec_.block(layer);
    const int64_t q_size = spec_.heads * spec_.head_dim, kv_size = spec_.kv_heads * spec_.head_dim;
    BlockWeights block;
    block.input_norm = load_vector(names.input_norm + ".weight", spec_.hidden);
    block.mlp_norm = load_vector(names.mlp_norm + ".weight", spec_.hidden);
    if (spec_.qk_norm) {
      block.q_norm = load_vector(names.q_norm + ".weight", spec_.head_dim);
      block.k_norm = load_vector(names.k_norm + ".weight", spec_.head_dim);
    }
    block.q = load_linear(names.q, q_size, spec_.hidden, spec_.qkv_bias);
    block.k = load_linear(names.k, kv_size, spec_.hidden, spec_.qkv_bias);
    block.v = load_linear(names.v, kv_size, spec_.hidden, spec_.qkv_bias);
    block.o = load_linear(names.o, spec_.hidden, q_size, spec_.o_bias);
    block.gate = load_linear(names.gate, spec_.intermediate, spec_.hidden, spec_.mlp_bias);
    block.up = load_linear(names.up, spec_.intermediate, spec_.hidden, spec_.mlp_bias);
    block.down = load_linear(names.down, spec_.hidden, spec_.intermediate, spec_.mlp_bias);
    return block;
  }

  // The scheme of most linear layers.
  std::string common_scheme() const {
    std::string best = "none";
    int most = 0;
    for (const auto& [name, count] : scheme_count_)
      if (count > most) best = name, most = count;
    return best;
  }

 private:
  void report(int64_t layer) const {
    if (progress_ && !progress_(static_cast<double>(layer) / static_cast<double>(spec_.layers), "loading"))
      throw Error(ErrorCode::interrupted, "load", "interrupted", {.file = checkpoint_.directory()});
  }

  Linear load_linear(const std::string& module, int64_t rows, int64_t columns, bool bias) {
    return {load_matrix(module, rows, columns),
            bias ? load_vector(module + ".bias", rows) : std::vector<float>()};
  }

  Matrix load_matrix(const std::string& module, int64_t rows, int64_t columns) {
    const QuantGroup* group = config_.group_for(module);
    // A name may match and yet be stored plain, as a tied lm_head or a layer that was left out by hand.
    if (group == nullptr || !group->scheme.weights || !is_stored_quantized(checkpoint_, module))
      return load_plain(module, rows, columns);
    ++scheme_count_[group->scheme.name];
    return load_packed(module, rows, columns, *group);
  }

  std::vector<float> load_vector(const std::string& name, int64_t n) const {
    const TensorInfo& tensor = need_floats(checkpoint_, name, {n});
    std::vector<float> values(static_cast<size_t>(n));
    load_floats(tensor.data.data(), 0, tensor.dtype, values);
    return values;
  }

  Matrix load_coded(const std::string& module, int64_t rows, int64_t columns) {
    CodedTensors tensors = coded_tensors(checkpoint_, module, mapped_);
    ++scheme_count_[coded_name_];
    const ScaleType type = tensors.scales == nullptr ? ScaleType::f32 : scale_type_of(tensors.scales->dtype);
    Matrix matrix = Matrix::from_coded(std::move(tensors.bytes), tensors.opened, rows, columns, type, tensors.place);
    for (int64_t row = 0; tensors.scales != nullptr && row < rows; ++row)
      matrix.set_scale(row, 0, load_float(tensors.scales->data.data(), row, tensors.scales->dtype));
    if (matrix.mapped_bytes() == 0) checkpoint_.release(*tensors.coded);
    return matrix;
  }

  Matrix load_plain(const std::string& module, int64_t rows, int64_t columns) {
    if (checkpoint_.find(module + kCodedSuffix) != nullptr) return load_coded(module, rows, columns);
    const TensorInfo& tensor = need_floats(checkpoint_, module + ".weight", {rows, columns});
    ++scheme_count_[tensor.dtype == DType::f32 ? "f32" : tensor.dtype == DType::f16 ? "f16" : "bf16"];
    return load_floats_of(tensor, mapped_);
  }

  Matrix load_floats_of(const TensorInfo& tensor, bool mapped) {
    const int64_t rows = tensor.shape[0], columns = tensor.shape[1];
    const StoredRows stored = {reinterpret_cast<const uint8_t*>(tensor.data.data()), columns * dtype_bits(tensor.dtype) / 8, 0};
    const Element element = element_of(tensor.dtype);
    if (mapped) return Matrix::from_rows(stored, element, rows, columns, columns, ScaleType::f32);
    Matrix matrix(element, rows, columns, columns, ScaleType::f32);
    for_panels(matrix, [&](int64_t panel, int64_t, int64_t) { matrix.set_panel(panel, stored, kernels_); });
    checkpoint_.release(tensor);
    return matrix;
  }

  Matrix load_packed(const std::string& module, int64_t rows, int64_t columns, const QuantGroup& group) {
    const QuantArgs& args = *group.scheme.weights;
    const PackedTensors packed = packed_tensors(checkpoint_, module, group);
    const ErrorPlace place = {.file = checkpoint_.file_of(*packed.codes), .tensor = packed.codes->name};
    check_shape({packed.rows, packed.columns}, {rows, columns}, place);
    const PackedReader reader(packed, args);
    const ActivationScheme activation = group.scheme.activations ? activation_scheme(module, *group.scheme.activations, args) : ActivationScheme();
    std::vector<int32_t> order = reader.column_order();
    const std::optional<StoredRows> stored = order.empty() ? stored_rows(reader) : std::nullopt;
    const bool stays = mapped_ && stored && !activation.asymmetric && activation.threshold == 0;
    const ScaleType scale_type = scale_type_of(reader.scale_type());
    Matrix matrix = stays ? Matrix::from_rows(*stored, element_of(args), rows, columns, reader.group(), scale_type)
                           : Matrix(element_of(args), rows, columns, reader.group(), scale_type);
    if (packed.zero_points != nullptr) matrix.add_zeros();
    if (!order.empty()) matrix.set_order(std::move(order));
    for_panels(matrix, [&](int64_t panel, int64_t first, int64_t count) {
      for (int64_t i = 0; i < count; ++i)
        for (int64_t g = 0; g < reader.groups(); ++g) {
          const Grid grid = reader.grid(first + i, g);
          matrix.set_scale(first + i, g, grid.scale);
          if (packed.zero_points != nullptr) matrix.set_zero(first + i, g, grid.zero);
        }
      if (stays) return;
      if (stored) return matrix.set_panel(panel, *stored, kernels_);
      std::vector<int8_t> codes(static_cast<size_t>(count * columns));
      const int8_t* source[kPanelRows];
      for (int64_t i = 0; i < count; ++i) {
        source[i] = codes.data() + i * columns;
        reader.codes(first + i, codes.data() + i * columns);
      }
      matrix.set_panel(panel, Matrix::CodeRows(source, static_cast<size_t>(count)));
    });
    if (group.scheme.activations) matrix.set_activation(activation);
    if (!stays) checkpoint_.release(*packed.codes);
    if (packed.outlier_weight != nullptr)
      matrix.set_outliers(outlier_columns_of(packed), load_floats_of(*packed.outlier_weight, false));
    return matrix;
  }

  // The codes as kernels lay them out, where the file has them so.
  std::optional<StoredRows> stored_rows(const PackedReader& reader) const {
    const std::optional<PackedReader::Rows> rows = reader.plain_rows();
    if (!rows) return std::nullopt;
    const Element element = element_of(reader.args());
    const StoredRows stored = {reinterpret_cast<const uint8_t*>(rows->data), rows->row_bytes, static_cast<uint8_t>(rows->offset || !is_integer(element) ? 0 : 0x80)};
    // E4M3's NaN is told by the scale of its group, which set_panel sees to.
    if (element == Element::e4m3 && has_nan({stored.data, static_cast<size_t>(reader.rows() * stored.row_bytes)})) return std::nullopt;
    return stored;
  }

  // E4M3: all bits but the sign. Eight at a time, one more sets what was the sign's place.
  bool has_nan(std::span<const uint8_t> codes) const {
    std::atomic<bool> found = false;
    pool_.parallel_for((codes.size() + 7) / 8, 1 << 16, [&](size_t begin, size_t end, int) {
      uint64_t any = 0;
      for (size_t i = begin; i < end; ++i) {
        uint64_t word = 0;
        std::memcpy(&word, codes.data() + i * 8, std::min<size_t>(8, codes.size() - i * 8));
        any |= (word & 0x7F7F7F7F7F7F7F7F) + 0x0101010101010101;
      }
      if ((any & 0x8080808080808080) != 0) found = true;
    });
    return found;
  }

  // What the kernels make of a checkpoint's scheme of inputs.
  ActivationScheme activation_scheme(const std::string& module, const QuantArgs& inputs, const QuantArgs& weights) const {
    const auto refuse = [&](const std::string& what) {
      throw Error(ErrorCode::unsupported, "load", what + ", which is not in this version",
                  {.file = checkpoint_.config_path(), .tensor = module});
    };
    if (inputs.num_bits != 8 || inputs.type != weights.type) refuse("activations that are not 8 bits of the weights' kind");
    if (!inputs.symmetric && inputs.type != NumberType::integer) refuse("8-bit floats with zero points");
    if (!inputs.dynamic) {
      if (inputs.strategy != Strategy::tensor) refuse("static activations with more than one scale");
      return {.mode = ActivationMode::a8_fixed, .scale = fixed_input_scale(checkpoint_, module), .asymmetric = !inputs.symmetric, .zero = inputs.symmetric ? 0 : input_zero(module)};
    }
    switch (inputs.strategy) {
      case Strategy::token:
        return {.mode = ActivationMode::a8_token, .asymmetric = !inputs.symmetric, .threshold = inputs.outliers && !inputs.outliers->stored ? inputs.outliers->threshold : 0.0f};
      case Strategy::tensor:
        if (!inputs.symmetric) refuse("asymmetric activations with one scale for all tokens, found at run time");
        return {.mode = ActivationMode::a8_tensor};
      default: break;
    }
    const bool alike = weights.strategy == Strategy::block && weights.block[1] == inputs.group_size;
    if (!alike) refuse("activations in groups that are not those of the weights");
    return {.mode = ActivationMode::a8_group};
  }

  // The kernels' codes begin at -127: a zero point of -128 moves by one, and with it the codes.
  int input_zero(const std::string& module) const {
    const TensorInfo& zero = checkpoint_.need(module + ".input_zero_point");
    if (zero.dtype != DType::i8 || zero.elements() != 1)
      throw Error(ErrorCode::bad_input, "load", "expected one number of type I8", {.file = checkpoint_.file_of(zero), .tensor = zero.name});
    return std::max(-127, static_cast<int>(static_cast<int8_t>(zero.data[0])));
  }

  // body(panel, first row, rows)
  template <class Body>
  void for_panels(const Matrix& matrix, const Body& body) {
    pool_.parallel_for(static_cast<size_t>(matrix.view().panels()), 4, [&](size_t begin, size_t end, int) {
      for (auto panel = static_cast<int64_t>(begin); panel < static_cast<int64_t>(end); ++panel) {
        const int64_t first = panel * kPanelRows;
        body(panel, first, std::min(kPanelRows, matrix.rows() - first));
      }
    });
  }

  ThreadPool& pool_;
  const KernelTable& kernels_;
  const Checkpoint& checkpoint_;
  const ModelSpec& spec_;
  const QuantConfig config_;
  const Progress& progress_;
  const bool mapped_;
  std::map<std::string, int> scheme_count_;
  std::string coded_name_ = "coded";
};

}  // namespace

BlockWeights load_block(const Context& context, const Checkpoint& checkpoint, const ModelSpec& spec, int64_t layer) {
  return Loader(context, checkpoint, spec, {}, false).load_block(layer);
}

DecoderModel load_model(const Context& context, const std::string& directory, const Progress& progress, bool mapped) {
  auto checkpoint = std::make_shared<const Checkpoint>(directory);
  if (mapped)
    for (const TensorInfo* tensor : checkpoint->tensors())
      if (!checkpoint->is_mapped(*tensor))
        throw Error(ErrorCode::unsupported, "load", "weights that are laid out anew when they are loaded cannot stay in their file; `codecllm convert` writes a model that can",
                    {.file = checkpoint->file_of(*tensor), .tensor = tensor->name});
  ModelSpec spec = read_spec(*checkpoint);
  Loader loader(context, *checkpoint, spec, progress, mapped);
  ModelWeights weights = loader.load();
  const std::string in_file = mapped ? ", " + std::to_string(weights.mapped_bytes()) + " of them mapped" : "";
  log_line(context, directory + ": " + spec.family + ", " + loader.common_scheme() + ", " +
                        std::to_string(weights.bytes()) + " bytes in memory" + in_file + "; kernels of " +
                        std::string(isa_name(context.impl().isa)) + ", " + std::to_string(context.impl().pool.threads()) +
                        " threads");
  if (!mapped) checkpoint = nullptr;
  return {&context, std::move(spec), std::move(weights), loader.common_scheme(), std::move(checkpoint)};
}

}  // namespace codecllm
