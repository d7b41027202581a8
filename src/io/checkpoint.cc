// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <system_error>

#include "base/file.h"
#include "codecllm/error.h"
#include "io/gguf_model.h"
#include "io/header_scanner.h"
#include "io/quant_method.h"

namespace codecllm {

namespace {

namespace fs = std::filesystem;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr size_t kMaxConfigBytes = size_t{16} << 20, kMaxIndexBytes = size_t{64} << 20;

[[noreturn]] void fail(ErrorCode code, const std::string& what, const std::string& file) {
  throw Error(code, "checkpoint", what, {.file = file});
}

// Sorted base names in a directory that end with `suffix`.
std::vector<std::string> files_ending(const std::string& directory, std::string_view suffix) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator it(directory, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.ends_with(suffix) && file_exists(it->path().string())) names.push_back(name);
  }
  if (error) fail(ErrorCode::io, error.message(), directory);
  std::sort(names.begin(), names.end());
  return names;
}

void check_is_directory(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return;
  if (!file_exists(path)) throw Error(ErrorCode::bad_call, "checkpoint", "no such directory: '" + path + "'");
  fail(ErrorCode::bad_call, "this is a file; give the directory that holds it and its config.json, or a .gguf file", path);
}

[[noreturn]] void no_safetensors(const std::string& directory) {
  constexpr auto code = ErrorCode::unsupported;
  if (!files_ending(directory, ".gguf").empty())
    fail(ErrorCode::bad_call, "only a .gguf file here; give its path instead of the directory's", directory);
  if (!files_ending(directory, ".bin").empty() || !files_ending(directory, ".bin.index.json").empty())
    fail(code,
         "only pickled .bin weights, which can run code and are not read; load the model with transformers "
         "and "
         "save it again, which writes .safetensors",
         directory);
  fail(ErrorCode::bad_input, "no .safetensors file here; give the directory of a downloaded model",
       directory);
}

// The one weight file of a directory with neither model.safetensors nor an index.
std::string only_weight_file(const std::string& directory) {
  const std::vector<std::string> names = files_ending(directory, ".safetensors");
  if (names.empty()) no_safetensors(directory);
  if (names.size() > 1)
    fail(ErrorCode::bad_input,
         std::to_string(names.size()) + " .safetensors files (" + shown(names[0]) + ", " + shown(names[1]) +
             ", ...) but no " + kIndex + " that tells which to use; download it too, or keep one file",
         directory);
  if (names[0] == "adapter_model.safetensors")
    fail(ErrorCode::unsupported, "only an adapter, not a whole model; merge it into its base model first",
         directory);
  return names[0];
}

Json read_object(const std::string& path, size_t limit) {
  const std::string text = read_file(path, limit);
  if (text.find('\0') != text.npos) fail(ErrorCode::bad_input, "a zero byte in JSON text", path);
  Json json = parse_json(text, path);
  if (!json.is_object()) fail(ErrorCode::bad_input, "expected a JSON object", path);
  return json;
}

// A shard's name comes from the index: it must not lead out of the directory.
void check_shard_name(const std::string& name, const std::string& index) {
  if (name.empty() || name.find_first_of(std::string_view("/\\\0", 3)) != name.npos)
    fail(ErrorCode::bad_input, "file name '" + shown(name) + "', expected a plain name in the same directory",
         index);
  if (!name.ends_with(".safetensors"))
    fail(ErrorCode::bad_input, "file name '" + shown(name) + "', expected one that ends with .safetensors",
         index);
}

}  // namespace

Checkpoint::Checkpoint(std::string path) : directory_(std::move(path)) {
  while (directory_.size() > 1 && directory_.ends_with('/')) directory_.pop_back();
  is_gguf_path(directory_) ? open_gguf() : open_directory();
}

void Checkpoint::open_gguf() {
  config_path_ = directory_;
  gguf_ = std::make_unique<GgufFile>(directory_);
  take(translate_gguf(*gguf_));
}

void Checkpoint::open_directory() {
  check_is_directory(directory_);
  const bool single = file_exists(directory_ + "/" + kSingle);
  const bool sharded = !single && file_exists(directory_ + "/" + kIndex);
  const std::string only = single ? kSingle : sharded ? "" : only_weight_file(directory_);
  config_path_ = directory_ + "/config.json";
  if (!file_exists(config_path_))
    fail(ErrorCode::bad_input, "no config.json beside the weights; download it too", directory_);
  config_ = read_object(config_path_, kMaxConfigBytes);
  if (sharded) {
    open_index(directory_ + "/" + kIndex);
  } else {
    add_file(only);
    for (const TensorInfo& tensor : files_[0].tensors()) add_tensor(tensor, files_[0].file());
  }
  if (auto translation = translate_quant_method(*this)) take(*std::move(translation));
}

void Checkpoint::take(Translation translation) {
  translation_ = std::move(translation);
  config_ = translation_.config;
  tensors_.clear();
  index_.clear();
  total_bytes_ = 0;
  for (const Translation::Entry& entry : translation_.entries()) add_tensor(entry.tensor, *entry.file);
}

void Checkpoint::add_file(const std::string& base_name) { files_.emplace_back(directory_ + "/" + base_name); }

void Checkpoint::add_tensor(const TensorInfo& tensor, const MappedFile& file) {
  if (!index_.emplace(tensor.name, Place{&tensor, &file}).second)
    throw Error(ErrorCode::bad_input, "checkpoint", "two tensors have this name", {.file = file.path(), .tensor = shown(tensor.name)});
  tensors_.push_back(&tensor);
  total_bytes_ += tensor.data.size();
}

void Checkpoint::open_index(const std::string& path) {
  const Json index = read_object(path, kMaxIndexBytes);
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object()) fail(ErrorCode::bad_input, "no weight_map object", path);
  std::map<std::string, std::set<std::string>> names;  // file -> its tensors
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string())
      throw Error(ErrorCode::bad_input, "checkpoint", "its file in weight_map is not a string",
                  {.file = path, .tensor = shown(tensor)});
    check_shard_name(file.get_ref<const std::string&>(), path);
    names[file.get<std::string>()].insert(tensor);
  }
  files_.reserve(names.size());
  for (const auto& [file, tensors] : names) {
    if (!file_exists(directory_ + "/" + file))
      fail(ErrorCode::io, "file '" + shown(file) + "' of weight_map is missing; the download is not complete",
           path);
    add_file(file);
    for (const std::string& name : tensors)
      if (files_.back().find(name) == nullptr)
        throw Error(ErrorCode::bad_input, "checkpoint",
                    "weight_map of " + std::string(kIndex) +
                        " says the tensor is in this file, but it is not; "
                        "download the model again",
                    {.file = directory_ + "/" + file, .tensor = shown(name)});
    for (const TensorInfo& tensor : files_.back().tensors())
      if (tensors.contains(tensor.name)) add_tensor(tensor, files_.back().file());
  }
}

const TensorInfo* Checkpoint::find(std::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : it->second.tensor;
}

const Checkpoint::Place& Checkpoint::place_of(std::string_view name) const {
  const auto it = index_.find(name);
  if (it != index_.end()) return it->second;
  throw Error(
      ErrorCode::bad_input, "checkpoint",
      "the model needs this tensor, but the checkpoint does not have it; is config.json the one of these "
      "weights, and is the download complete?",
      {.file = tensors_.empty() || files_.size() > 1 ? directory_ : file_of(*tensors_[0]), .tensor = shown(name)});
}

const TensorInfo& Checkpoint::need(std::string_view name) const { return *place_of(name).tensor; }

const std::string& Checkpoint::file_of(const TensorInfo& tensor) const {
  return mapped_file_of(tensor).path();
}

const MappedFile& Checkpoint::mapped_file_of(const TensorInfo& tensor) const { return *place_of(tensor.name).file; }

bool Checkpoint::is_mapped(const TensorInfo& tensor) const {
  const std::span<const std::byte> file = mapped_file_of(tensor).bytes();
  const std::less_equal<const std::byte*> before;
  return before(file.data(), tensor.data.data()) && before(tensor.data.data() + tensor.data.size(), file.data() + file.size());
}

void Checkpoint::release(const TensorInfo& tensor, std::span<const std::byte> part) const {
  const MappedFile& file = *place_of(tensor.name).file;
  const auto mapped = file.bytes();
  // What was translated is the only copy.
  if (part.data() >= mapped.data() && part.data() + part.size() <= mapped.data() + mapped.size()) file.release(part);
}

}  // namespace codecllm
