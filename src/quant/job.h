// SPDX-License-Identifier: Apache-2.0
// Everything that is decided before the first byte is written: what happens to each tensor, and where it goes.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "format/coded_scheme.h"
#include "io/checkpoint.h"
#include "io/quant_config.h"
#include "io/safetensors_writer.h"
#include "quant/recipe.h"

namespace codecllm {

// What coded layers may take together, from which the rate of each is chosen (rate_plan.h), or the rates; at most one of the three.
struct RateTarget {
  std::optional<double> bits = {};            // per weight of the layers that a rate is chosen for, scales and container included
  std::optional<uint64_t> bytes = {};         // of all weight files together
  std::map<std::string, double> layers = {};  // bits per weight of every layer that a rate is chosen for

  explicit operator bool() const { return bits || bytes || !layers.empty(); }
};

struct QuantizeOptions {
  QuantScheme scheme = {};                       // a recipe of one step, with selection and algorithm
  RateTarget target = {};                        // coded-B only: instead of B for every layer
  Selection selection = {};
  AlgorithmOptions algorithm = {};
  std::vector<RecipeStep> recipe = {};           // where it has steps: instead of these
  ScaleRule scale_rule = ScaleRule::restricted;
  bool force = false;                            // keep the output even when a check fails
  bool strict = false;                           // refuse what would be done otherwise than asked for
  uint64_t shard_bytes = uint64_t{5} << 30;      // largest file of the output
};

// One tensor of the source and what becomes of it.
struct TensorJob {
  enum class Kind : uint8_t { copy, convert, quantize, code } kind;
  const TensorInfo* source;
  std::string module;                // quantize, code: the name without ".weight"
  QuantArgs args;                    // quantize: fitted to the row length
  DType dtype;                       // convert: the new type; quantize, code: the scales' type
  bool bytes = false;                // quantize: codes as `weight`, a byte each; false: `weight_packed`
  CodedScheme coded = {};            // code
  std::vector<TensorDecl> decls = {};  // what is written; code: at most, in bytes and in the length of their declarations
  std::optional<QuantArgs> inputs = {};  // quantize: activations
  size_t step = 0;                       // quantize: of the recipe
  std::vector<int32_t> outliers = {};    // quantize: columns that are kept as they are, ascending
  bool unsmoothed = false;               // quantize: the algorithm smooths, but not what this layer reads

  // Entropy-coded at a rate that may be chosen.
  bool rated() const { return kind == Kind::code && coded.rate > 0; }
  bool calibrated_inputs() const { return inputs && !inputs->dynamic; }
  // Columns that calibration finds lie in 16 bits beside the codes, be they none.
  bool stores_columns() const { return inputs && inputs->outliers && inputs->outliers->stored; }
};

// Where a static scale of inputs and its zero point go, beside the weight.
std::string input_scale_name(const std::string& module);
std::string input_zero_name(const std::string& module);

// Columns that are kept out of integers, by module name.
using OutlierColumns = std::map<std::string, std::vector<int32_t>>;

struct QuantizeJob {
  std::vector<RecipeStep> steps;
  std::vector<TensorJob> tensors;
  OrderedJson config;              // config.json of the output
  std::vector<std::string> notes;  // sentences for people: fallbacks, who will refuse the result
};

// The recipe that the options stand for.
std::vector<RecipeStep> recipe_of(const QuantizeOptions& options);

// Throws Error for a source that is already quantized, for tensors that are missing or have another shape or type than
// the model's, for damaged settings of its tokenizer, for what `choose_layers` refuses and, where options.strict, for what would otherwise be a note: groups
// that do not divide a row, smoothing where none can be, layers that engines fuse and that are not alike.
QuantizeJob plan_job(const Checkpoint& checkpoint, const ModelSpec& spec, const QuantizeOptions& options,
                     const OutlierColumns& outliers = {});

}  // namespace codecllm
