// SPDX-License-Identifier: Apache-2.0
// Tiny checkpoints to copy, change and compare.
#pragma once

#include <sys/stat.h>

#include <map>
#include <vector>

#include "base/context.h"
#include "base/file.h"
#include "base/json.h"
#include "format/float16.h"
#include "io/checkpoint.h"
#include "io/safetensors_writer.h"
#include "io/support.h"
#include "paths.h"

namespace codecllm::test {

inline std::string model_data(const std::string& name) {
  return source_path("tests/model/data/" + name);
}

inline const Context& two_threads() {
  static const Context context({.threads = 2});
  return context;
}

struct Tensor {
  TensorDecl decl;
  std::vector<std::byte> data;
};
using Tensors = std::map<std::string, Tensor>;

inline Tensors read_tensors(const std::string& directory) {
  const Checkpoint checkpoint(directory);
  Tensors tensors;
  for (const TensorInfo* t : checkpoint.tensors())
    tensors[t->name] = {{t->name, t->dtype, t->shape}, {t->data.begin(), t->data.end()}};
  return tensors;
}

// Checksums beside the file go: what a test changes is to be noticed without them (checksums_test.cc is about them).
inline void write_tensors(const std::string& path, const Tensors& tensors) {
  std::filesystem::remove(std::filesystem::path(path).parent_path() / "codecllm_checksums.json");
  std::vector<TensorData> list;
  for (const auto& [name, tensor] : tensors) list.push_back({tensor.decl, tensor.data});
  write_safetensors(path, list);
}

inline float get_value(DType dtype, const std::byte* data, size_t i) {
  if (dtype == DType::f32) {
    float value;
    std::memcpy(&value, data + 4 * i, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, data + 2 * i, 2);
  return dtype == DType::bf16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

inline void set_value(Tensor& tensor, size_t i, float value) {
  const uint16_t bits = tensor.decl.dtype == DType::bf16 ? f32_to_bf16(value) : f32_to_f16(value);
  if (tensor.decl.dtype == DType::f32) {
    std::memcpy(tensor.data.data() + 4 * i, &value, 4);
  } else {
    std::memcpy(tensor.data.data() + 2 * i, &bits, 2);
  }
}

inline std::vector<float> values_of(const Tensor& tensor) {
  const size_t bytes = static_cast<size_t>(dtype_bits(tensor.decl.dtype)) / 8;
  std::vector<float> values(tensor.data.size() / bytes);
  for (size_t i = 0; i < values.size(); ++i) values[i] = get_value(tensor.decl.dtype, tensor.data.data(), i);
  return values;
}

// A tensor of these values, rounded to `dtype`.
inline Tensor make_tensor(const std::string& name, DType dtype, std::vector<int64_t> shape,
                          const std::vector<float>& values) {
  Tensor tensor = {{name, dtype, std::move(shape)}, {}};
  tensor.data.resize(values.size() * static_cast<size_t>(dtype_bits(dtype)) / 8);
  for (size_t i = 0; i < values.size(); ++i) set_value(tensor, i, values[i]);
  return tensor;
}

// One of tests/model/data's models in a directory of its own, its tensors changed by `edit`.
template <class Edit>
std::string edited_model(const std::string& name, const std::string& directory, const Edit& edit) {
  std::filesystem::create_directories(directory);
  std::filesystem::copy_file(model_data(name) + "/config.json", directory + "/config.json");
  Tensors tensors = read_tensors(model_data(name));
  edit(tensors);
  write_tensors(directory + "/model.safetensors", tensors);
  return directory;
}

inline std::string copied_model(const std::string& name, const std::string& directory) {
  return edited_model(name, directory, [](Tensors&) {});
}

// Every file below a directory, by relative name.
inline std::map<std::string, std::string> files_of(const std::string& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory))
    if (entry.is_regular_file())
      files[std::filesystem::relative(entry.path(), directory)] = read_file(entry.path());
  return files;
}

// What differs between two directories, in words; "" when nothing does.
inline std::string difference(const std::string& a, const std::string& b) {
  const auto left = files_of(a), right = files_of(b);
  for (const auto& [name, bytes] : left)
    if (!right.contains(name)) return name + " only in " + a;
  for (const auto& [name, bytes] : right)
    if (!left.contains(name)) return name + " only in " + b;
  for (const auto& [name, bytes] : left)
    if (bytes != right.at(name)) return name + " differs";
  return "";
}

inline bool exists(const std::string& path) { return std::filesystem::exists(path); }

}  // namespace codecllm::test
