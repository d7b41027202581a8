// SPDX-License-Identifier: Apache-2.0
#include "quant/weight_files.h"

#include <algorithm>
#include <deque>
#include <filesystem>
#include <optional>

#include "io/growing_file.h"
#include "io/safetensors.h"

namespace codecllm {

namespace {

namespace fs = std::filesystem;

constexpr const char* kIndexFile = "model.safetensors.index.json";

void write_index(const std::string& directory, const std::string& text) {
  if (!text.empty()) write_file_atomically(directory + "/" + kIndexFile, text);
}

uint64_t checksum_of(const OutputFile& file, uint64_t offset, uint64_t bytes) {
  StoredChecksum sum;
  std::vector<std::byte> piece;
  for (uint64_t at = 0; at < bytes; at += piece.size()) {
    piece.resize(std::min<uint64_t>(StoredChecksum::kPiece, bytes - at));
    file.read_at(offset + at, piece.data(), piece.size());
    sum.add(piece.data(), piece.size());
  }
  return sum.value();
}

class PlannedFiles : public WeightFiles {
 public:
  explicit PlannedFiles(ShardPlan plan) : plan_(std::move(plan)) {}

  void create(const std::string& directory) override {
    for (const Shard& shard : plan_.shards) {
      OutputFile& file = files_.emplace_back(directory + "/" + shard.file, OutputFile::Mode::create);
      file.reserve(shard.layout.file_bytes());  // before hours of work begin
      file.write_at(0, shard.layout.header().data(), shard.layout.header().size());
    }
    write_index(directory, plan_.index);  // algorithms read what is done while the rest is being made
  }

  bool take_up(const std::string& directory, const std::vector<WrittenTensor>&) override {
    for (const Shard& shard : plan_.shards) {
      const std::string path = directory + "/" + shard.file;
      if (!file_exists(path) || fs::file_size(path) != shard.layout.file_bytes()) return false;
    }
    for (const Shard& shard : plan_.shards) files_.emplace_back(directory + "/" + shard.file, OutputFile::Mode::modify);
    write_index(directory, plan_.index);
    return true;
  }

  void write(std::string_view tensor, uint64_t offset, std::span<const std::byte> data) override {
    const size_t shard = shard_of(tensor);
    files_[shard].write_at(plan_.shards[shard].layout.need(tensor).offset + offset, data.data(), data.size());
  }

  WrittenTensor added(const TensorDecl& decl) override {
    const size_t shard = shard_of(decl.name);
    const PlacedTensor& placed = plan_.shards[shard].layout.need(decl.name);
    return {decl, shard, checksum_of(files_[shard], placed.offset, placed.bytes)};
  }

  void sync() override {
    for (OutputFile& file : files_) file.sync();
  }

  std::vector<std::pair<std::string, std::string>> finish() override {
    sync();
    std::vector<std::pair<std::string, std::string>> headers;
    for (const Shard& shard : plan_.shards) headers.emplace_back(shard.file, shard.layout.header());
    return headers;
  }

 private:
  size_t shard_of(std::string_view tensor) const {
    for (size_t i = 0; i < plan_.shards.size(); ++i)
      if (plan_.shards[i].layout.find(tensor) != nullptr) return i;
    throw Error(ErrorCode::bad_call, "write", "no such tensor in the layout", {.tensor = std::string(tensor)});
  }

  const ShardPlan plan_;
  std::deque<OutputFile> files_;
};

class GrowingFiles : public WeightFiles {
 public:
  GrowingFiles(std::vector<TensorDecl> atmost, uint64_t shard_bytes) : atmost_(std::move(atmost)), shard_bytes_(shard_bytes) {}

  void create(const std::string& directory) override { directory_ = directory; }

  bool take_up(const std::string& directory, const std::vector<WrittenTensor>& written) override {
    directory_ = directory;
    for (const WrittenTensor& tensor : written) {
      if (tensor.shard == files_.size()) {
        const std::optional<std::string> path = left_file(tensor.shard, written.back().shard + 1);
        if (!path) return false;
        open(*path, OutputFile::Mode::modify);
      } else if (tensor.shard + 1 != files_.size()) {
        return false;
      }
      add_to_last(tensor.decl);
    }
    for (const File& file : files_)
      if (fs::file_size(file.path) < file.growing.bytes()) return false;
    return true;
  }

  void begin(uint64_t bytes) override {
    if (files_.empty() || (files_.back().growing.data_bytes() > 0 && files_.back().growing.data_bytes() + bytes > shard_bytes_))
      open(directory_ + "/" + growing_name(files_.size()), OutputFile::Mode::create);
  }

  void write(std::string_view, uint64_t offset, std::span<const std::byte> data) override {
    files_.back().growing.write(offset, data.data(), data.size());
  }

  WrittenTensor added(const TensorDecl& decl) override {
    add_to_last(decl);
    const PlacedTensor& placed = files_.back().growing.tensors().back();
    return {decl, files_.size() - 1, checksum_of(files_.back().output, placed.offset, placed.bytes)};
  }

  void sync() override {
    if (!files_.empty()) files_.back().output.sync();
  }

  void make_readable() override {
    OrderedJson index = {{"metadata", OrderedJson::object()}, {"weight_map", OrderedJson::object()}};
    for (size_t i = 0; i < files_.size(); ++i) {
      files_[i].growing.finish();
      for (const PlacedTensor& tensor : files_[i].growing.tensors()) index["weight_map"][tensor.decl.name] = fs::path(files_[i].path).filename().string();
    }
    write_index(directory_, dump_json(index));
  }

  std::vector<std::pair<std::string, std::string>> finish() override {
    fs::remove(directory_ + "/" + kIndexFile);  // of make_readable
    std::vector<std::pair<std::string, std::string>> headers;
    std::vector<std::vector<PlacedTensor>> shards;
    for (size_t i = 0; i < files_.size(); ++i) {
      headers.emplace_back(shard_name(i, files_.size()), files_[i].growing.finish());
      files_[i].output.sync();
      const std::string path = directory_ + "/" + headers.back().first;
      fs::rename(files_[i].path, path);
      files_[i].path = path;
      shards.push_back(files_[i].growing.tensors());
    }
    if (shards.size() > 1) write_index(directory_, shard_index(shards));
    return headers;
  }

 private:
  struct File {
    File(std::string p, OutputFile::Mode mode, const std::vector<TensorDecl>& atmost)
        : path(std::move(p)), output(path, mode), growing(output, atmost) {}
    std::string path;
    OutputFile output;
    GrowingFile growing;
  };

  void add_to_last(const TensorDecl& decl) {
    files_.back().growing.added(decl.name, decl.dtype, decl.shape, tensor_bytes(decl.dtype, decl.shape, ErrorCode::bad_call, {.tensor = decl.name}));
  }

  // How many files there will be is not known yet.
  static std::string growing_name(size_t shard) { return "growing-" + std::to_string(shard) + ".safetensors"; }

  // Where a file stands of a call that may have been stopped while it gave them their names.
  std::optional<std::string> left_file(size_t shard, size_t count) const {
    for (const std::string& name : {growing_name(shard), shard_name(shard, count)})
      if (file_exists(directory_ + "/" + name)) return directory_ + "/" + name;
    return std::nullopt;
  }

  void open(std::string path, OutputFile::Mode mode) { files_.emplace_back(std::move(path), mode, atmost_); }

  const std::vector<TensorDecl> atmost_;
  const uint64_t shard_bytes_;
  std::string directory_;
  std::deque<File> files_;  // a GrowingFile refers to its OutputFile
};

}  // namespace

std::unique_ptr<WeightFiles> planned_files(ShardPlan plan) { return std::make_unique<PlannedFiles>(std::move(plan)); }

std::unique_ptr<WeightFiles> growing_files(std::vector<TensorDecl> atmost, uint64_t shard_bytes) {
  return std::make_unique<GrowingFiles>(std::move(atmost), shard_bytes);
}

}  // namespace codecllm
