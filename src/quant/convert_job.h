// SPDX-License-Identifier: Apache-2.0
// What the writers of all layouts share.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>

#include "io/checkpoint.h"
#include "io/packed_reader.h"
#include "io/quant_config.h"
#include "model/spec.h"
#include "quant/convert.h"
#include "quant/output.h"

namespace codecllm {

// A linear layer's weight as it is stored: codes with scales, or plain floats.
class SourceLinear {
 public:
  SourceLinear(const Checkpoint& checkpoint, const QuantConfig& config, const LinearSpec& linear);

  const LinearSpec& linear() const { return linear_; }
  const QuantArgs* args() const { return reader_ ? &args_ : nullptr; }  // null: plain
  const PackedReader& reader() const { return *reader_; }
  const TensorInfo& tensor() const { return *tensor_; }                 // the codes, or the plain weight
  DType scale_type() const { return reader_ ? reader_->scale_type() : tensor_->dtype; }
  void values(int64_t row, std::span<float> out) const;

 private:
  LinearSpec linear_;
  const TensorInfo* tensor_ = nullptr;
  QuantArgs args_;
  std::optional<PackedReader> reader_;
};

// A linear layer in integers as the new layout has it: w = scale * code.
struct EncodedLinear {
  int64_t rows = 0, columns = 0, group = 0;
  int bits = 0;
  std::vector<int8_t> codes;   // [rows, columns]
  std::vector<float> scales;   // [rows, groups], as they will be stored
  bool exact = true;
  double max_error = 0;

  int64_t groups() const { return columns / group; }
};

// How codes are found where those of the source do not fit: for `group` values, the scale as it will be stored.
using GroupRounder = std::function<float(std::span<const float> values, int8_t* codes)>;
GroupRounder nearest_codes(int bits, DType scale_type);  // amax / (2^(bits-1) - 1)

// The source's codes and scales where they fit into symmetric groups of `group` columns of this many bits, else codes by
// `round`. Scales are stored in `scale_type`.
EncodedLinear encode_linear(const Context& context, const SourceLinear& source, int bits, int64_t group, DType scale_type,
                            const GroupRounder& round);

struct ConvertJob {
  const Context& context;
  const Checkpoint& checkpoint;
  const ModelSpec& spec;
  const QuantConfig config;
  const std::string& output;
  const ConvertOptions& options;
  const Progress& progress;
  ConvertResult result;

  std::vector<LinearSpec> linears() const;  // those whose weights the checkpoint has
  void report(double done) const;           // throws Error(interrupted)
  void tell(const std::string& name, const std::string& stored, bool exact, double max_error) {
    result.tensors.push_back({name, stored, exact, max_error});
  }
};

// A directory in Hugging Face's layout, written tensor by tensor.
class DirectoryWriter {
 public:
  explicit DirectoryWriter(ConvertJob& job) : job_(job) {}

  // `write` puts all of `decls` into the output.
  void add(std::vector<TensorDecl> decls, std::function<void(PartialOutput&)> write);
  void add_copy(const TensorInfo& tensor);  // as it is
  void finish(OrderedJson config);          // writes everything, or leaves nothing

 private:
  struct Write {
    std::vector<TensorDecl> decls;
    std::function<void(PartialOutput&)> write;
  };

  ConvertJob& job_;
  std::vector<TensorDecl> decls_;
  std::vector<Write> writes_;
};

// config.json of the source, without what it says about quantization.
OrderedJson config_without_quantization(const Checkpoint& checkpoint);

namespace convert_target {
#define CONVERT_TARGET(name, function) void function(ConvertJob& job);
#include "quant/convert_target.def"
#undef CONVERT_TARGET
}  // namespace convert_target

}  // namespace codecllm
