// SPDX-License-Identifier: Apache-2.0
// GGUF: one file with tokenizer and metadata. Vectors are F32, as llama.cpp asks; embeddings keep their floats.
#include <algorithm>
#include <cstring>
#include <map>

#include "base/file.h"
#include "format/plain_float.h"
#include "io/checksums.h"
#include "io/gguf_metadata.h"
#include "io/gguf_writer.h"
#include "io/tensor_name.h"
#include "quant/convert_encode.h"
#include "quant/convert_job.h"

namespace codecllm {

namespace {

constexpr int64_t kGgufBlock = 32;

struct GgufCoding {
  GgmlType type;
  int bits;
  GgmlBlock (*quantize)(const float* values);
  void (*write)(const GgmlBlock& block, void* out);
};
constexpr GgufCoding kGgufCodings[] = {{GgmlType::q8_0, 8, quantize_q8_0, write_q8_0}, {GgmlType::q4_0, 4, quantize_q4_0, write_q4_0}};

GgmlType plain_ggml(DType type) { return type == DType::f16 ? GgmlType::f16 : type == DType::bf16 ? GgmlType::bf16 : GgmlType::f32; }
DType dtype_of(GgmlType type) { return type == GgmlType::f16 ? DType::f16 : type == GgmlType::bf16 ? DType::bf16 : DType::f32; }

// general.file_type
int file_type_number(GgmlType type) {
  switch (type) {
    case GgmlType::f32: return 0;
    case GgmlType::f16: return 1;
    case GgmlType::q4_0: return 2;
    case GgmlType::q8_0: return 7;
    default: return 32;  // BF16
  }
}

class GgufTarget {
 public:
  explicit GgufTarget(ConvertJob& job) : job_(job), arch_(*gguf_arch_of_class(job.spec.family)) {
    if (job.options.type == "auto") return;
    for (GgmlType type : {GgmlType::f32, GgmlType::f16, GgmlType::bf16, GgmlType::q8_0, GgmlType::q4_0}) {
      std::string name(ggml_traits(type).name);
      std::transform(name.begin(), name.end(), name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
      if (name == job.options.type) wanted_ = type;
    }
    if (!wanted_) throw Error(ErrorCode::bad_call, "convert", "no type '" + job.options.type + "'; there are: auto, f32, f16, bf16, q8_0, q4_0");
  }

  void write() {
    plan();
    job_.note_activations();
    OrderedJson metadata = describe();
    const std::string unknown = hex_checksum(0);
    std::vector<std::string> sums(decls_.size(), unknown);
    metadata[kGgufChecksums] = sums;
    metadata[kGgufHeaderChecksum] = unknown;
    const GgufLayout layout = gguf_layout(metadata, decls_);
    make_parent_directory(job_.output);
    AtomicFile file(job_.output);
    file.write(layout.header);
    for (size_t i = 0; i < decls_.size(); ++i) {
      job_.report(static_cast<double>(i) / static_cast<double>(decls_.size()));
      std::vector<std::byte> data = makers_[i]();
      const uint64_t end = i + 1 < decls_.size() ? layout.tensors[i + 1].offset : layout.file_bytes;
      data.resize(end - layout.tensors[i].offset);  // with the padding
      sums[i] = hex_checksum(stored_checksum(data));
      file.write(data.data(), data.size());
    }
    metadata[kGgufChecksums] = sums;
    const std::string header = gguf_layout(metadata, decls_).header;
    metadata[kGgufHeaderChecksum] = hex_checksum(stored_checksum(std::as_bytes(std::span(header))));
    const std::string final_header = gguf_layout(metadata, decls_).header;
    file.file().write_at(0, final_header.data(), final_header.size());
    file.commit();
    // Without a type that was asked for, codes and floats are kept, so that only scales can have been rounded.
    if (const int64_t rounded = job_.result.requantized(); !wanted_ && rounded > 0)
      job_.note("the scales of " + std::to_string(rounded) + " tensors were rounded to F16, which Q8_0 and Q4_0 have; --type f32 keeps every weight as it is");
    job_.result.bytes = layout.file_bytes;
  }

 private:
  using Maker = std::function<std::vector<std::byte>()>;

  void add(const std::string& hf_name, GgmlType type, std::vector<int64_t> shape, Maker make) {
    const auto name = gguf_name_of(hf_name);
    if (!name) throw Error(ErrorCode::unsupported, "convert", "llama.cpp has no name for this tensor", {.tensor = hf_name});
    decls_.push_back({*name, type, std::move(shape)});
    makers_.push_back(std::move(make));
  }

  void plan() {
    std::set<std::string, std::less<>> done;
    for (const LinearSpec& linear : job_.linears()) {
      const SourceLinear source(job_.checkpoint, job_.config, linear);
      add_linear(source);
      done.insert(linear.name);
    }
    for (const TensorInfo* tensor : job_.checkpoint.tensors()) {
      const auto [module, part] = split_tensor_name(tensor->name);
      if (done.contains(module) && part != ".bias") continue;
      if (tensor->name.ends_with("rotary_emb.inv_freq") || is_kv_scale(tensor->name) || (tensor->name == "lm_head.weight" && job_.spec.tied_head)) continue;
      add_plain(*tensor);
    }
    add_rotation();
  }

  void add_plain(const TensorInfo& tensor) {
    if (!is_plain_float(tensor.dtype))
      throw Error(ErrorCode::unsupported, "convert", "type " + std::string(dtype_name(tensor.dtype)) + " is not written in GGUF", {.tensor = tensor.name});
    GgmlType type = tensor.shape.size() < 2 ? GgmlType::f32 : plain_ggml(tensor.dtype);
    if (tensor.shape.size() >= 2 && wanted_ && (*wanted_ == GgmlType::f32 || *wanted_ == GgmlType::f16 || *wanted_ == GgmlType::bf16)) type = *wanted_;
    const int64_t rows = tensor.shape.empty() ? 1 : tensor.shape[0], columns = rows == 0 ? 0 : tensor.elements() / rows;
    add(tensor.name, type, tensor.shape.empty() ? std::vector<int64_t>{1} : tensor.shape, [this, &tensor, type, rows, columns] {
      return floats(tensor.name, type, rows, columns,
                    [&](int64_t row, std::span<float> values) { load_floats(tensor.data.data(), row * columns, tensor.dtype, values); });
    });
  }

  void add_linear(const SourceLinear& source) {
    const LinearSpec& linear = source.linear();
    const GgufCoding* coding = choose(source);
    const std::string name = linear.name + ".weight";
    if (coding != nullptr) {
      ++count_[coding->type];
      return add(name, coding->type, {linear.rows, linear.columns}, [this, source, coding] { return blocks(source, *coding); });
    }
    GgmlType type = wanted_.value_or(source.args() != nullptr ? GgmlType::f32 : plain_ggml(source.tensor().dtype));
    if (type == GgmlType::q8_0 || type == GgmlType::q4_0) {  // rows that are not whole blocks
      type = source.args() != nullptr ? GgmlType::f32 : plain_ggml(source.tensor().dtype);
      job_.result.notes.push_back(linear.name + " has rows of " + std::to_string(linear.columns) + ", which are not whole blocks of 32, and stays " +
                                  std::string(ggml_traits(type).name));
    }
    ++count_[type];
    add(name, type, {linear.rows, linear.columns}, [this, source, type] {
      return floats(source.linear().name + ".weight", type, source.linear().rows, source.linear().columns,
                    [&](int64_t row, std::span<float> values) { source.values(row, values); });
    });
  }

  // Unless a type was asked for, symmetric integers keep their codes, of 4 bits in Q4_0, others in Q8_0, and all else is kept in floats.
  const GgufCoding* choose(const SourceLinear& source) const {
    if (source.linear().columns % kGgufBlock != 0) return nullptr;
    GgmlType type = GgmlType::q8_0;
    if (wanted_) {
      type = *wanted_;
      // As llama.cpp does, the head keeps more bits than the rest.
      if (source.linear().kind == LinearKind::lm_head && type == GgmlType::q4_0) type = GgmlType::q8_0;
    } else if (!source.integer() || !source.args()->symmetric || !source.order().empty()) {
      return nullptr;
    } else if (source.args()->num_bits <= 4) {
      type = GgmlType::q4_0;
    }
    for (const GgufCoding& coding : kGgufCodings)
      if (coding.type == type) return &coding;
    return nullptr;
  }

  bool reordered(const std::string& name) const {
    return arch_.neighbours && (name.find(".q_proj.") != name.npos || name.find(".k_proj.") != name.npos);
  }

  // Row of Hugging Face's tensor that stands as row `row` of the file's.
  int64_t source_row(const std::string& name, int64_t row) const { return reordered(name) ? hf_row_of(row, job_.spec.head_dim) : row; }

  // Rows of floats, or one row for each element where a bias is reordered.
  std::vector<std::byte> floats(const std::string& name, GgmlType type, int64_t rows, int64_t columns,
                                const std::function<void(int64_t, std::span<float>)>& read) {
    const DType dtype = dtype_of(type);
    std::vector<std::byte> out(static_cast<size_t>(rows * columns * ggml_traits(type).block_bytes));
    std::vector<float> values(static_cast<size_t>(columns));
    Change change;
    for (int64_t row = 0; row < rows; ++row) {
      read(source_row(name, row), values);
      store_floats(values, dtype, out.data() + row * columns * ggml_traits(type).block_bytes, change);
    }
    job_.tell(name, std::string(ggml_traits(type).name), change);
    return out;
  }

  std::vector<std::byte> blocks(const SourceLinear& source, const GgufCoding& coding) {
    const std::string name = source.linear().name + ".weight";
    // The quantizer's scale is stored in F16, but its codes are found with the unrounded one.
    const GroupRounder round = [&coding](std::span<const float> values, int8_t* codes) {
      const GgmlBlock block = coding.quantize(values.data());
      std::memcpy(codes, block.codes, sizeof block.codes);
      return f16_to_f32(f32_to_f16(block.scale));
    };
    const EncodedLinear linear = encode_linear(job_.context, source, {.bits = coding.bits, .group = kGgufBlock, .round = round});
    const int64_t block_bytes = ggml_traits(coding.type).block_bytes, groups = linear.groups();
    std::vector<std::byte> out(static_cast<size_t>(linear.rows * groups * block_bytes));
    for (int64_t row = 0; row < linear.rows; ++row)
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t from = source_row(name, row) * groups + g;
        GgmlBlock block;
        block.scale = linear.scales[static_cast<size_t>(from)];
        std::memcpy(block.codes, linear.codes.data() + from * kGgufBlock, sizeof block.codes);
        coding.write(block, out.data() + (row * groups + g) * block_bytes);
      }
    job_.tell(name, std::string(ggml_traits(coding.type).name), linear.change);
    return out;
  }

  // Llama 3's scaling and its like are a tensor: what each frequency is divided by.
  void add_rotation() {
    if (job_.spec.rope.type != "llama3" && job_.spec.rope.type != "longrope") return;
    RopeSpec plain = job_.spec.rope;
    plain.type = "default";
    const std::vector<float> scaled = rope_frequencies(job_.spec.rope, 0), base = rope_frequencies(plain, 0);
    std::vector<float> divisors;
    for (size_t i = 0; i < base.size(); ++i) divisors.push_back(base[i] / scaled[i]);
    decls_.push_back({"rope_freqs.weight", GgmlType::f32, {static_cast<int64_t>(divisors.size())}});
    makers_.push_back([divisors] {
      const auto bytes = std::as_bytes(std::span(divisors));
      return std::vector<std::byte>(bytes.begin(), bytes.end());
    });
  }

  OrderedJson describe() const {
    OrderedJson metadata = gguf_model_metadata(job_.checkpoint.config(), job_.checkpoint.config_path());
    GgmlType most = GgmlType::f32;
    int best = 0;
    for (const auto& [type, n] : count_)
      if (n > best) most = type, best = n;
    metadata["general.file_type"] = file_type_number(most);
    const OrderedJson words = tokenizer();
    for (const auto& [key, value] : words.items()) metadata[key] = value;
    return metadata;
  }

  OrderedJson tokenizer() const {
    const Checkpoint& checkpoint = job_.checkpoint;
    OrderedJson out;
    if (checkpoint.gguf() != nullptr) {
      for (const auto& [key, value] : checkpoint.gguf()->metadata().items())
        if (key.starts_with("tokenizer.")) out[key] = OrderedJson(value);
      return out;
    }
    const std::string path = checkpoint.directory() + "/tokenizer.json", settings = checkpoint.directory() + "/tokenizer_config.json";
    if (!file_exists(path))
      throw Error(ErrorCode::bad_input, "convert", "no tokenizer.json, which goes into a GGUF file; copy it from the original model",
                  {.file = checkpoint.directory()});
    return gguf_tokenizer_metadata(read_json_file(path), file_exists(settings) ? read_json_file(settings) : Json::object(), checkpoint.config(), path);
  }

  ConvertJob& job_;
  const GgufArch& arch_;
  std::optional<GgmlType> wanted_;
  std::vector<GgufDecl> decls_;
  std::vector<Maker> makers_;
  std::map<GgmlType, int> count_;  // linear layers by type
};

}  // namespace

void convert_target::to_gguf(ConvertJob& job) {
  if (!job.output.ends_with(".gguf"))
    throw Error(ErrorCode::bad_call, "convert", "a GGUF model is one file; give it a name that ends with .gguf", {.file = job.output});
  if (gguf_arch_of_class(job.spec.family) == nullptr)
    throw Error(ErrorCode::unsupported, "convert", job.spec.family + " models are not written in GGUF in this version");
  GgufTarget(job).write();
}

}  // namespace codecllm
