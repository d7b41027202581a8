// SPDX-License-Identifier: Apache-2.0
// How a linear layer is quantized, as plain data in the field's vocabulary (compressed-tensors' QuantArgs).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/dtype.h"

namespace codecllm {

// `floating` is E4M3, as compressed-tensors means it for 8 bits; E5M2 it has no word for.
enum class NumberType : uint8_t { integer, floating, float_e5m2 };

// Which values share one scale. `token`: one per row of the activations, found at run time.
enum class Strategy : uint8_t { tensor, channel, group, block, token };

std::string_view strategy_name(Strategy strategy);
std::optional<Strategy> strategy_from_name(std::string_view name);

// LLM.int8(): inputs of these magnitudes are multiplied in 16 bits.
struct OutlierArgs {
  float threshold = 6;
  bool stored = false;  // columns found by calibration, held in 16 bits beside the codes; false: found at run time

  bool operator==(const OutlierArgs&) const = default;
};

struct QuantArgs {
  int num_bits = 8;
  NumberType type = NumberType::integer;
  Strategy strategy = Strategy::channel;
  int group_size = 0;                // > 0 with Strategy::group: consecutive inputs that share a scale
  std::array<int, 2> block = {0, 0};  // [rows, columns] with Strategy::block
  bool symmetric = true;
  bool dynamic = false;  // activations: scales found at run time
  std::optional<DType> scale_dtype = std::nullopt;  // weights: f32, bf16, f16 or f8_e8m0; nothing: the weights' own type
  std::optional<OutlierArgs> outliers = std::nullopt;  // activations: features that are not quantized

  bool operator==(const QuantArgs&) const = default;
};

// The scale rule for symmetric integers. `restricted` is what we write: codes -(2^(b-1)-1) .. 2^(b-1)-1, scale
// amax / (2^(b-1)-1), so that the largest weight is exact. `full` is compressed-tensors' own: amax / ((2^b-1)/2).
enum class ScaleRule : uint8_t { restricted, full };

struct QuantScheme {
  std::string name = "bf16";                         // the preset's name, or "custom"
  std::optional<QuantArgs> weights = std::nullopt;   // nothing: plain 16- or 32-bit weights
  std::optional<QuantArgs> activations = std::nullopt;  // nothing: 16-bit activations
  DType plain = DType::bf16;                         // the element type where weights is nothing

  bool operator==(const QuantScheme&) const = default;
};

// The presets of src/format/presets.def, in its order.
const std::vector<QuantScheme>& scheme_presets();

// A preset, or weight-only integers by the same words: intB[-tensor|-gN][-asym] with 2 to 8 bits B and groups of 32 to
// 256 weights N ("int5", "int3-g64", "int4-g32-asym"). Throws Error(bad_call) that lists the presets.
QuantScheme scheme_preset(std::string_view name);

// The name that scheme_preset takes; "custom" where there is none.
std::string scheme_name(const QuantScheme& scheme);

// The scheme for rows of `columns` inputs: where its group does not divide them, the largest power of two >= 32 that
// does is used, else one scale per channel. Other schemes are returned as they are.
QuantScheme fit_scheme(const QuantScheme& scheme, int64_t columns);

// Scales of a [rows, columns] weight: the shape compressed-tensors gives weight_scale.
std::vector<int64_t> scale_shape(const QuantArgs& args, int64_t rows, int64_t columns);

}  // namespace codecllm
