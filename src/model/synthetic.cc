// SPDX-License-Identifier: Apache-2.0
#include "model/synthetic.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "codec/rate.h"
#include "format/coded_scheme.h"
#include "format/float16.h"
#include "format/grid.h"
#include "format/grid_map.h"

namespace codecllm {

namespace {

struct Shape {
  const char* name;
  int64_t hidden, intermediate, layers, heads, kv_heads, head_dim, vocab;
};
constexpr Shape kShapes[] = {
#define SHAPE(...) {__VA_ARGS__},
#include "model/shapes.def"
#undef SHAPE
};

// Drawing a billion t-distributed values takes minutes, so values are drawn once and picked at random.
class Values {
 public:
  explicit Values(uint64_t seed) {
    Rng rng(seed);
    for (float& value : table_) {
      double squares = 0;
      for (int i = 0; i < 5; ++i) {
        const double z = rng.normal();
        squares += z * z;
      }
      value = static_cast<float>(rng.normal() / std::sqrt(squares / 5));
      largest_ = std::max(largest_, std::fabs(value));
    }
  }

  void fill(std::span<float> out, uint64_t seed, float size) const {
    uint64_t state = Rng(seed).next();
    for (float& value : out) {
      state = state * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX generator; the high bits are good
      value = table_[state >> 48] * size;
    }
  }

  float largest() const { return largest_; }

 private:
  std::vector<float> table_ = std::vector<float>(65536);
  float largest_ = 0;
};

class Maker {
 public:
  Maker(const Context& context, const QuantScheme& scheme, uint64_t seed)
      : pool_(context.impl().pool), scheme_(scheme), values_(seed), seed_(seed) {}

  ModelWeights make(const ModelSpec& spec) {
    ModelWeights weights;
    const QuantScheme plain = coded_scheme(scheme_.name) ? scheme_preset("lossless") : scheme_.weights ? scheme_preset("bf16") : scheme_;
    weights.embedding = matrix(spec.vocab, spec.hidden, plain);
    weights.final_norm = ones(spec.hidden);
    for (int64_t layer = 0; layer < spec.layers; ++layer) {
      BlockWeights block;
      const int64_t q_size = spec.heads * spec.head_dim, kv_size = spec.kv_heads * spec.head_dim;
      block.input_norm = block.mlp_norm = ones(spec.hidden);
      block.q.weight = matrix(q_size, spec.hidden, scheme_);
      block.k.weight = matrix(kv_size, spec.hidden, scheme_);
      block.v.weight = matrix(kv_size, spec.hidden, scheme_);
      block.o.weight = matrix(spec.hidden, q_size, scheme_);
      block.gate.weight = matrix(spec.intermediate, spec.hidden, scheme_);
      block.up.weight = matrix(spec.intermediate, spec.hidden, scheme_);
      block.down.weight = matrix(spec.hidden, spec.intermediate, scheme_);
      weights.blocks.push_back(std::move(block));
    }
    weights.lm_head = matrix(spec.vocab, spec.hidden, scheme_);
    return weights;
  }

  Matrix matrix(int64_t rows, int64_t columns) { return matrix(rows, columns, scheme_); }

 private:
  static std::vector<float> ones(int64_t n) { return std::vector<float>(static_cast<size_t>(n), 1.0f); }

  Matrix matrix(int64_t rows, int64_t columns, const QuantScheme& scheme) {
    const QuantScheme fitted = fit_scheme(scheme, columns);
    const uint64_t seed = seed_ += 0x1000003;
    const float size = 1.0f / std::sqrt(static_cast<float>(columns));
    const bool quantized = fitted.weights.has_value();
    const int64_t group = quantized ? GridMap(*fitted.weights, rows, columns).column_span : columns;
    const Element element = quantized ? element_of(*fitted.weights) : element_of(fitted.plain);
    Matrix out(element, rows, columns, group, quantized ? scale_type_of(scale_dtype(*fitted.weights)) : ScaleType::bf16);
    if (quantized && !fitted.weights->symmetric) out.add_zeros();
    if (fitted.activations)
      out.set_activation({.mode = activation_mode(*fitted.activations),
                          .threshold = fitted.activations->outliers ? fitted.activations->outliers->threshold : 0.0f});
    const auto coding = coded_scheme(scheme.name);
    const UniformRate rate = coding && coding->rate > 0 ? rate_of(rows, columns, seed, size, coding->rate) : UniformRate();
    pool_.parallel_for(static_cast<size_t>(out.view().panels()), 4, [&](size_t begin, size_t end, int) {
      std::vector<float> panel(static_cast<size_t>(kPanelRows * columns));
      for (auto p = static_cast<int64_t>(begin); p < static_cast<int64_t>(end); ++p) {
        values_.fill(panel, seed + static_cast<uint64_t>(p) * 7919, size);
        if (rate.steps_per_rms > 0) {
          set_codes(out, p, panel, rate);
        } else if (quantized) {
          set_codes(out, p, panel, *fitted.weights, group, size);
        } else {
          const void* source[kPanelRows];
          for (int64_t i = 0; i < kPanelRows; ++i) source[i] = panel.data() + i * columns;
          out.set_panel(p, Matrix::FloatRows(source, static_cast<size_t>(rows_of(out, p))), DType::f32);
        }
      }
    });
    if (!coding) return out;
    return encoded(pool_, out, rate.steps_per_rms > 0 ? std::optional(rate.kind) : std::nullopt);
  }

  UniformRate rate_of(int64_t rows, int64_t columns, uint64_t seed, float size, double bits) const {
    std::vector<std::vector<float>> panels(static_cast<size_t>(std::min<int64_t>(4, (rows + kPanelRows - 1) / kPanelRows)));
    for (size_t p = 0; p < panels.size(); ++p) {
      panels[p].resize(static_cast<size_t>(kPanelRows * columns));
      values_.fill(panels[p], seed + p * 7919, size);
    }
    return choose_rate(panels, columns, bits, container_bits(rows, columns, 16));
  }

  void set_codes(Matrix& out, int64_t p, const std::vector<float>& panel, const UniformRate& rate) {
    const int64_t columns = out.columns(), rows = rows_of(out, p);
    std::vector<int8_t> codes(panel.size());
    const int8_t* source[kPanelRows];
    for (int64_t i = 0; i < rows; ++i) {
      const std::span<const float> row(panel.data() + i * columns, static_cast<size_t>(columns));
      const float scale = bf16_to_f32(f32_to_bf16(rate_scale(rate, row)));
      source[i] = codes.data() + i * columns;
      rate_codes(rate, row, scale, codes.data() + i * columns);
      out.set_scale(p * kPanelRows + i, 0, scale);
    }
    out.set_panel(p, Matrix::CodeRows(source, static_cast<size_t>(rows)));
  }

  static DType scale_dtype(const QuantArgs& args) { return args.scale_dtype.value_or(DType::bf16); }

  // No input is seen beforehand, so what a checkpoint has a given scale for is found at run time.
  static ActivationMode activation_mode(const QuantArgs& inputs) {
    if (inputs.strategy == Strategy::token) return ActivationMode::a8_token;
    return inputs.strategy == Strategy::group ? ActivationMode::a8_group : ActivationMode::a8_tensor;
  }

  static int64_t rows_of(const Matrix& matrix, int64_t panel) {
    return std::min(kPanelRows, matrix.rows() - panel * kPanelRows);
  }

  void set_codes(Matrix& out, int64_t p, const std::vector<float>& panel, const QuantArgs& args, int64_t group, float size) {
    const int64_t columns = out.columns(), rows = rows_of(out, p);
    std::vector<int8_t> codes(panel.size());
    const int8_t* source[kPanelRows];
    for (int64_t i = 0; i < rows; ++i) {
      source[i] = codes.data() + i * columns;
      for (int64_t k = 0, g = 0; k < columns; k += group, ++g) {
        const std::span<const float> part(panel.data() + i * columns + k, static_cast<size_t>(std::min(group, columns - k)));
        const float amax = args.strategy == Strategy::tensor ? values_.largest() * size : finite_amax(part);
        const Grid grid = fit_grid({-amax, amax}, args, ScaleRule::restricted, scale_dtype(args));
        encode(part, grid, args, ScaleRule::restricted, codes.data() + i * columns + k);
        out.set_scale(p * kPanelRows + i, g, grid.scale);
        if (!args.symmetric) out.set_zero(p * kPanelRows + i, g, grid.zero);
      }
    }
    out.set_panel(p, Matrix::CodeRows(source, static_cast<size_t>(rows)));
  }

  ThreadPool& pool_;
  const QuantScheme& scheme_;
  const Values values_;
  uint64_t seed_;
};

}  // namespace

ModelSpec shape_spec(std::string_view name) {
  std::string list;
  for (const Shape& shape : kShapes) {
    list += (list.empty() ? "" : ", ") + std::string(shape.name);
    if (name != shape.name) continue;
    ModelSpec spec;
    spec.family = "LlamaForCausalLM";
    spec.hidden = shape.hidden;
    spec.intermediate = shape.intermediate;
    spec.layers = shape.layers;
    spec.heads = shape.heads;
    spec.kv_heads = shape.kv_heads;
    spec.head_dim = shape.head_dim;
    spec.vocab = shape.vocab;
    spec.max_positions = 131072;
    spec.rope.rotary = shape.head_dim;
    spec.rope.original_positions = 131072;
    return spec;
  }
  throw Error(ErrorCode::bad_call, "shape", "no shape '" + std::string(name) + "'; there are: " + list);
}

DecoderModel synthetic_model(const Context& context, const ModelSpec& spec, const QuantScheme& scheme, uint64_t seed) {
  return {&context, spec, Maker(context, scheme, seed).make(spec), scheme.name};
}

Matrix synthetic_matrix(const Context& context, int64_t rows, int64_t columns, const QuantScheme& scheme, uint64_t seed) {
  return Maker(context, scheme, seed).matrix(rows, columns);
}

std::vector<Matrix> synthetic_matrices(const Context& context, int64_t rows, int64_t columns, const QuantScheme& scheme, size_t count,
                                       uint64_t seed) {
  Maker maker(context, scheme, seed);
  std::vector<Matrix> out;
  while (out.size() < count) out.push_back(maker.matrix(rows, columns));
  return out;
}

}  // namespace codecllm
