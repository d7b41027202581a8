// SPDX-License-Identifier: Apache-2.0
// What the writers of all layouts share.
#pragma once

#include <functional>
#include <set>

#include "quant/convert.h"
#include "quant/convert_source.h"
#include "quant/output.h"

namespace codecllm {

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
  void tell(const std::string& name, const std::string& stored, const Change& change) {
    result.tensors.push_back({name, stored, change.exact, change.max_error});
  }
  // Says so where layers of a quantized model lose bits, or become codes that were none: this layout has one type for all.
  void note_coarser(int bits);
  void note_activations();                  // says so where the source quantizes them, for layouts that cannot
  void note(std::string sentence) { result.notes.push_back(std::move(sentence)); }
};

// A directory in Hugging Face's layout, written tensor by tensor.
class DirectoryWriter {
 public:
  explicit DirectoryWriter(ConvertJob& job) : job_(job) {}

  // `write` puts all of `decls` into the output.
  void add(std::vector<TensorDecl> decls, std::function<void(PartialOutput&)> write);
  void add_copy(const TensorInfo& tensor);  // as it is
  // A matrix of floats; read(row, values) gives its rows.
  void add_floats(const std::string& name, DType dtype, int64_t rows, int64_t columns, std::vector<int64_t> shape,
                  std::function<void(int64_t row, std::span<float> values)> read);
  void add_floats(const SourceLinear& source, DType dtype);  // its weight, dequantized
  // Copies all tensors but the weights of these modules and what belongs to them; biases stay.
  void add_others(const std::set<std::string, std::less<>>& modules);
  // Writes everything, or leaves nothing. copied: all codes and scales are the source's.
  void finish(OrderedJson config, bool copied = false);

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
