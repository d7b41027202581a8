// SPDX-License-Identifier: Apache-2.0
#include "io/checksums.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/file.h"
#include "codec/checksum.h"
#include "io/header_scanner.h"

namespace codecllm {

namespace {

constexpr int kChecksumsVersion = 1;
constexpr const char* kChecksumRule = "rotl64((s ^ w) * 0x9E3779B97F4A7C15, 29), pieces of 1 MiB";

[[noreturn]] void refuse_checksums(const std::string& what, const std::string& file) {
  throw Error(ErrorCode::bad_input, "checksums", what, {.file = file});
}

uint64_t number_of(const Json& value, const std::string& file) {
  uint64_t sum = 0;
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), sum, 16);
    if (text.size() == 16 && error == std::errc() && end == text.data() + text.size()) return sum;
  }
  refuse_checksums("a checksum that is not 16 hexadecimal digits", file);
}

std::map<std::string, FileChecksums> read_checksum_file(const std::string& path) {
  std::map<std::string, FileChecksums> out;
  const Json json = read_json_file(path);
  if (!json.is_object()) refuse_checksums("expected a JSON object", path);
  if (json_need<int>(json, "version", path) != kChecksumsVersion)
    throw Error(ErrorCode::unsupported, "checksums", "version is not " + std::to_string(kChecksumsVersion), {.file = path});
  const auto files = json.find("files");
  if (files == json.end() || !files->is_object()) refuse_checksums("no object 'files'", path);
  for (const auto& [name, file] : files->items()) {
    const bool whole = file.is_object() && file.contains("header") && file.contains("tensors") && file["tensors"].is_object();
    if (!whole) refuse_checksums("a file without 'header' and 'tensors'", path);
    FileChecksums& sums = out[name];
    sums.header = number_of(file["header"], path);
    for (const auto& [tensor, sum] : file["tensors"].items()) sums.tensors[tensor] = number_of(sum, path);
  }
  return out;
}

}  // namespace

void StoredChecksum::add(const void* piece, size_t bytes) { add(checksum(0, piece, bytes)); }

void StoredChecksum::add(uint64_t sum) { state_ = checksum(state_, &sum, sizeof sum); }

uint64_t stored_checksum(std::span<const std::byte> data) {
  StoredChecksum sum;
  for (; !data.empty(); data = data.subspan(std::min(StoredChecksum::kPiece, data.size())))
    sum.add(data.data(), std::min(StoredChecksum::kPiece, data.size()));
  return sum.value();
}

std::string hex_checksum(uint64_t sum) {
  std::string text(16, '0');
  for (size_t i = 16; i-- > 0; sum >>= 4) text[i] = "0123456789abcdef"[sum & 15];
  return text;
}

std::string checksums_text(const std::map<std::string, FileChecksums>& files) {
  OrderedJson json = {{"version", kChecksumsVersion}, {"checksum", kChecksumRule}, {"files", OrderedJson::object()}};
  for (const auto& [name, sums] : files) {
    OrderedJson tensors = OrderedJson::object();
    for (const auto& [tensor, sum] : sums.tensors) tensors.get_ref<OrderedJson::object_t&>().emplace_back(tensor, hex_checksum(sum));
    json["files"][name] = {{"header", hex_checksum(sums.header)}, {"tensors", std::move(tensors)}};
  }
  return dump_json(json, 1) + "\n";
}

ExpectedChecksums::ExpectedChecksums(const Checkpoint& checkpoint, const Complain& complain) {
  checkpoint.gguf() != nullptr ? read_gguf(*checkpoint.gguf(), complain) : read_directory(checkpoint, complain);
}

void ExpectedChecksums::read_directory(const Checkpoint& checkpoint, const Complain& complain) {
  const std::string path = checkpoint.directory() + "/" + kChecksumFile;
  if (!file_exists(path)) return;
  auto files = read_checksum_file(path);
  for (const SafetensorsFile& file : checkpoint.files()) {
    const std::string name = std::filesystem::path(file.file().path()).filename();
    const auto sums = files.find(name);
    if (sums == files.end()) {
      complain(name, std::string(kChecksumFile) + " knows nothing of this file");
      continue;
    }
    const auto bytes = file.file().bytes();
    const size_t header = file.header_bytes();
    if (stored_checksum(bytes.first(header)) != sums->second.header) complain(name, "its header is not what was written");
    for (const TensorInfo& tensor : file.tensors()) {
      const auto sum = sums->second.tensors.find(tensor.name);
      if (sum == sums->second.tensors.end()) {
        complain(tensor.name, "no checksum of it is stored");
      } else {
        expect(tensor.name, tensor.data, sum->second, file.file());
        sums->second.tensors.erase(sum);
      }
    }
    for (const auto& [tensor, sum] : sums->second.tensors) complain(tensor, "is missing; its checksum is stored");
    files.erase(sums);
  }
  for (const auto& [name, sums] : files) complain(name, "is missing; its checksums are stored");
}

void ExpectedChecksums::read_gguf(const GgufFile& file, const Complain& complain) {
  const std::string& path = file.file().path();
  const Json& metadata = file.metadata();
  const auto sums = metadata.find(kGgufChecksums), header = metadata.find(kGgufHeaderChecksum);
  if (sums == metadata.end() && header == metadata.end()) return;
  const auto& tensors = file.tensors();
  if (sums == metadata.end() || header == metadata.end() || !sums->is_array() || sums->size() != tensors.size() || tensors.empty())
    refuse_checksums("its metadata does not hold one checksum for each tensor; the file is damaged", path);
  const uint64_t expected = number_of(*header, path);
  const auto bytes = file.file().bytes();
  std::string front(reinterpret_cast<const char*>(bytes.data()), static_cast<size_t>(tensors[0].data.data() - bytes.data()));
  if (const size_t at = front.find(kGgufHeaderChecksum); at != std::string::npos)
    if (const size_t own = front.find(header->get_ref<const std::string&>(), at); own != std::string::npos) front.replace(own, 16, 16, '0');
  if (stored_checksum(std::as_bytes(std::span(front))) != expected) complain(path, "what stands before its tensors is not what was written");
  for (size_t i = 0; i < tensors.size(); ++i) {
    const std::byte* end = i + 1 < tensors.size() ? tensors[i + 1].data.data() : bytes.data() + bytes.size();
    expect(tensors[i].name, {tensors[i].data.data(), end}, number_of((*sums)[i], path), file.file());
  }
}

bool ExpectedChecksums::holds(ThreadPool& pool, const Expected& expected) {
  constexpr size_t kTogether = 32;
  StoredChecksum sum;
  uint64_t pieces[kTogether];
  for (auto data = expected.data; !data.empty();) {
    const auto part = data.first(std::min(kTogether * StoredChecksum::kPiece, data.size()));
    const size_t count = (part.size() + StoredChecksum::kPiece - 1) / StoredChecksum::kPiece;
    pool.parallel_for(count, 1, [&](size_t begin, size_t end, int) {
      for (size_t i = begin; i < end; ++i) {
        const auto piece = part.subspan(i * StoredChecksum::kPiece);
        pieces[i] = checksum(0, piece.data(), std::min(StoredChecksum::kPiece, piece.size()));
      }
    });
    for (size_t i = 0; i < count; ++i) sum.add(pieces[i]);
    expected.file->release(part);
    data = data.subspan(part.size());
  }
  return sum.value() == expected.sum;
}

bool ExpectedChecksums::intact(ThreadPool& pool, const TensorInfo& tensor) {
  const auto it = left_.find({tensor.data.data(), tensor.data.size()});
  if (it == left_.end()) return true;
  ++checked_;
  const Expected expected = std::move(it->second);
  left_.erase(it);
  return holds(pool, expected);
}

std::vector<std::string> ExpectedChecksums::others(ThreadPool& pool) {
  std::vector<std::string> damaged;
  for (const auto& [place, expected] : left_) {
    ++checked_;
    if (!holds(pool, expected)) damaged.push_back(expected.name);
  }
  left_.clear();
  return damaged;
}

}  // namespace codecllm
