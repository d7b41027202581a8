// SPDX-License-Identifier: Apache-2.0
// Reading back what was written: what a checkpoint's tensors are, and how far they are from their source.
#pragma once

#include <string>
#include <vector>

#include "base/context.h"
#include "base/function_ref.h"
#include "io/checkpoint.h"
#include "io/packed_reader.h"
#include "io/quant_config.h"
#include "quant/smoothing.h"

namespace codecllm {

// One quantized layer against its source.
struct LayerReport {
  std::string name;       // module
  std::string scheme;     // "int8 channel", "int4 group 128"
  int64_t weights = 0;
  uint64_t bytes = 0;     // codes, scales and everything else that belongs to it
  double sqnr_db = 0;     // 10 log10(sum w^2 / sum (w - w')^2); infinite when exact. 0 without a source
  double correlation = 0;  // sum w w' / sqrt(sum w^2 sum w'^2); 0 without a source
  double max_abs_error = 0;
  int64_t poor_rows = 0;  // rows whose own SQNR is below the format's floor
  std::string problem;    // empty: good
  bool unlike = false;    // that is one beside a source with which the layer has something to do, not of codes and scales themselves
};

// A row counts as poor below this: half of the codes' range is lost to a scale that does not fit (one scale per tensor
// over rows of very different size, an outlier, a wrong scale).
double sqnr_floor_db(const QuantArgs& args);

// 10 log10(signal / noise), sums of squares: infinite without noise.
double sqnr_db(double signal, double noise);

// Codes under their own scales have more to do with their source, of however few bits.
inline constexpr double kLeastCorrelation = 0.2;

// What is wrong where sum w w' (product) is not near sum w^2 (signal), as it is for any codes under their own scales; "" where
// it is. Of fewer than four bits, or a number of bits that is not known (0), it may be far below.
std::string gain_problem(double signal, double product, int bits);

// What a layer was made from.
struct LayerOrigin {
  const TensorInfo* source = nullptr;        // [rows, columns]; null: not known
  const SmoothedSource* smoothed = nullptr;  // through which the source is to be read
  bool nearest = true;                       // by rounding to the nearest with the rule's scales
  bool rounded_again = false;                // perhaps from codes of fewer bits
  std::span<const int32_t> outliers = {};    // columns that are kept as they are
  const TensorInfo* outlier_weight = nullptr;  // [rows, outliers.size()]
};

// Decodes every weight: code to value to code must be the identity, scales finite and not zero. With a source
// also the error against it, and where the layer was made by rounding to the nearest, that every row was; more than 5% of poor rows, or a poor layer, is a problem. rows_done is called with
// rows whose bytes may leave memory.
LayerReport check_layer(const Context& context, const std::string& module, const PackedReader& reader,
                        const QuantArgs& args, const LayerOrigin& origin,
                        FunctionRef<void(int64_t first, int64_t count)> rows_done);

struct VerifyResult {
  int64_t tensors = 0;
  uint64_t bytes = 0;
  int64_t checksums = 0;         // stored tensors that were held against a checksum; 0: none are stored with this model
  std::vector<LayerReport> layers;
  std::vector<std::string> bad;  // sentences that name the tensor
  // Of bad, in a model that does not tell how it was made: plain tensors that are not the reference's, and where there are any, quantized
  // layers that are not.
  int64_t unlike = 0;
  bool unlike_reference = false;  // all checksums are right, and no quantized layer is like the reference's
};

// Checks every tensor of a checkpoint: against its checksum where one is stored, plain ones for NaN and infinity, quantized ones as check_layer does, against the
// reference where one is given (plain tensors must then be equal to its bit for bit, or to it converted).
VerifyResult verify(const Context& context, const Checkpoint& checkpoint, const Checkpoint* reference,
                    const Progress& progress = {});

std::string scheme_text(const QuantArgs& args);

}  // namespace codecllm
