// SPDX-License-Identifier: Apache-2.0
#include "io/compress.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/memory.h"
#include "codec/checksum.h"
#include "codec/encode_tensor.h"
#include "io/growing_file.h"
#include "io/safetensors.h"

namespace codecllm {

namespace {

constexpr const char* kIndexName = "__codecllm__";
constexpr char kIndexMagic[8] = {'C', 'L', 'L', 'M', 'F', 'I', 'L', '1'};
constexpr int64_t kPanelBlocks = 1024;
constexpr int64_t kLeastElements = 4096;  // smaller tensors are not worth a header

// How the original was: of every tensor, in file order, whether it is coded and the checksum of its bytes; then the
// original file's header as it stood.
struct Original {
  struct Entry {
    uint64_t coded, checksum;
  };
  std::vector<Entry> entries;
  std::string header;

  std::string bytes() const {
    std::string out(kIndexMagic, sizeof kIndexMagic);
    const auto put = [&](uint64_t x) { out.append(reinterpret_cast<const char*>(&x), sizeof x); };
    put(entries.size());
    for (const Entry& entry : entries) {
      put(entry.coded);
      put(entry.checksum);
    }
    put(header.size());
    out += header;
    put(checksum(0, out.data(), out.size()));
    return out;
  }
};

[[noreturn]] void refuse_compressed(const std::string& what, const std::string& file) {
  throw Error(ErrorCode::bad_input, "compress", what, {.file = file});
}

Original read_original(std::span<const std::byte> data, const std::string& file) {
  size_t at = 0;
  const auto take = [&](void* to, size_t bytes) {
    if (data.size() - at < bytes) refuse_compressed("its index ends early; the file is damaged", file);
    std::memcpy(to, data.data() + at, bytes);
    at += bytes;
  };
  const auto number = [&] {
    uint64_t x = 0;
    take(&x, sizeof x);
    return x;
  };
  uint64_t sum = 0;
  if (data.size() >= 8) std::memcpy(&sum, data.data() + data.size() - 8, 8);
  if (data.size() < 32 || std::memcmp(data.data(), kIndexMagic, 8) != 0 || checksum(0, data.data(), data.size() - 8) != sum)
    refuse_compressed("its index is damaged", file);
  at = 8;
  Original out;
  const uint64_t count = number();
  if (count > data.size() / sizeof(Original::Entry)) refuse_compressed("its index ends early; the file is damaged", file);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t coded = number();
    out.entries.push_back({coded, number()});
  }
  const uint64_t size = number();
  if (size > data.size() - at || size < 8) refuse_compressed("its index ends early; the file is damaged", file);
  out.header.resize(size);
  take(out.header.data(), size);
  return out;
}

std::optional<CodeKind> kind_of(const TensorInfo& tensor) {
  if (tensor.elements() < kLeastElements) return std::nullopt;
  switch (tensor.dtype) {
    case DType::bf16: return CodeKind::bf16;
    case DType::f16: return CodeKind::f16;
    case DType::f32: return CodeKind::f32;
    default: return std::nullopt;
  }
}

void tell(const Progress& progress, uint64_t done, uint64_t all, std::string_view what) {
  if (progress && !progress(static_cast<double>(done) / static_cast<double>(std::max<uint64_t>(1, all)), what))
    throw Error(ErrorCode::interrupted, "compress", "interrupted");
}

bool add_coded(ThreadPool& pool, GrowingFile& file, const TensorInfo& tensor) {
  const auto kind = kind_of(tensor);
  if (!kind) return false;
  const auto count = static_cast<uint64_t>(tensor.elements());
  const int64_t all_blocks = (tensor.elements() + kCodedBlock - 1) / kCodedBlock;
  const int64_t most_panels = (all_blocks + kPanelBlocks - 1) / kPanelBlocks;
  const int64_t blocks = (all_blocks + most_panels - 1) / most_panels;  // even shares: little padding in the last
  const int64_t panels = (all_blocks + blocks - 1) / blocks;
  const size_t panel_bytes = static_cast<size_t>(blocks * kCodedBlock * element_bytes(*kind));
  const uint64_t bytes = encode_tensor(
      pool, {.kind = *kind, .rows = 1, .columns = count, .panels = panels, .blocks = blocks, .prefer = Prefer::bytes},
      [&](int64_t panel, uint8_t* out) {
        const size_t at = static_cast<size_t>(panel) * panel_bytes;
        std::memcpy(out, tensor.data.data() + at, std::min(panel_bytes, tensor.data.size() - at));
      },
      [&](uint64_t offset, const void* data, size_t part) { file.write(offset, data, part); });
  if (bytes >= tensor.data.size()) return false;
  file.added(tensor.name, DType::u8, {static_cast<int64_t>(bytes)}, bytes);
  return true;
}

uint64_t write_coded(ThreadPool& pool, const TensorInfo& tensor, OutputFile& out, uint64_t at, PanelDecoder decode, const std::string& file) {
  Buffer bytes(tensor.data.size());
  if (!tensor.data.empty()) std::memcpy(bytes.data(), tensor.data.data(), tensor.data.size());
  const CodedTensor coded = open_coded(bytes.as<const uint8_t>(), file, tensor.name);
  const auto size = static_cast<uint64_t>(element_bytes(coded.header.shape.kind)), panel_bytes = static_cast<uint64_t>(coded.view.panel_bytes());
  const uint64_t most = panel_bytes * coded.header.panels;  // panels and blocks fit the file: no overflow
  if (coded.header.columns > most / size || most - coded.header.columns * size >= panel_bytes)
    throw Error(ErrorCode::bad_input, "compress", "coded for another number of elements than it says", {.file = file, .tensor = tensor.name});
  const uint64_t total = coded.header.columns * size;
  decodes_right(pool, coded, decode, [&](int64_t panel, std::span<const uint8_t> elements) {
    const uint64_t offset = static_cast<uint64_t>(panel) * panel_bytes;
    out.write_at(at + offset, elements.data(), std::min<uint64_t>(elements.size(), total - offset));
  });
  return total;
}

}  // namespace

CompressResult compress_file(const Context& context, const std::string& in, const std::string& out, const Progress& progress) {
  refuse_existing(out);
  const SafetensorsFile source(in);
  if (source.find(kIndexName) != nullptr) throw Error(ErrorCode::bad_call, "compress", "compressed already", {.file = in});
  std::vector<TensorDecl> atmost = {{kIndexName, DType::u8, {int64_t{1} << 50}}};
  for (const TensorInfo& tensor : source.tensors()) {
    atmost.push_back({tensor.name, tensor.dtype, tensor.shape});
    atmost.push_back({tensor.name, DType::u8, {int64_t{1} << 50}});
  }
  make_parent_directory(out);
  AtomicFile output(out);
  GrowingFile file(output.file(), atmost);
  CompressResult result = {.bytes_in = source.file().bytes().size(), .tensors = static_cast<int64_t>(source.tensors().size())};
  Original original;
  uint64_t data_bytes = 0;
  for (const TensorInfo& tensor : source.tensors()) {
    tell(progress, data_bytes, result.bytes_in, "compressing");
    const bool coded = add_coded(context.impl().pool, file, tensor);
    if (!coded) file.add(tensor.name, tensor.dtype, tensor.shape, tensor.data);
    original.entries.push_back({coded ? 1u : 0u, checksum(0, tensor.data.data(), tensor.data.size())});
    result.coded += coded ? 1 : 0;
    data_bytes += tensor.data.size();
    source.file().release(tensor.data);
  }
  const auto head = source.file().bytes().first(result.bytes_in - data_bytes);
  original.header.assign(reinterpret_cast<const char*>(head.data()), head.size());
  const std::string index = original.bytes();
  file.add(kIndexName, DType::u8, {static_cast<int64_t>(index.size())}, std::as_bytes(std::span(index)));
  file.finish();
  result.bytes_out = file.bytes();
  output.commit();
  return result;
}

CompressResult decompress_file(const Context& context, const std::string& in, const std::string& out, PanelDecoder decode,
                               const Progress& progress) {
  refuse_existing(out);
  const SafetensorsFile source(in);
  const TensorInfo* index = source.find(kIndexName);
  if (index == nullptr) throw Error(ErrorCode::bad_call, "compress", "not written by `codecllm compress`", {.file = in});
  const Original original = read_original(index->data, in);
  if (original.entries.size() + 1 != source.tensors().size()) refuse_compressed("its index is of another file", in);
  CompressResult result = {.bytes_in = source.file().bytes().size(), .tensors = static_cast<int64_t>(original.entries.size())};
  make_parent_directory(out);
  AtomicFile output(out);
  OutputFile& file = output.file();
  file.write_at(0, original.header.data(), original.header.size());
  uint64_t at = original.header.size();
  size_t entry = 0;
  for (const TensorInfo& tensor : source.tensors()) {
    if (&tensor == index) continue;
    tell(progress, entry, original.entries.size(), "decompressing");
    if (original.entries[entry].coded != 0) {
      at += write_coded(context.impl().pool, tensor, file, at, decode, in);
      ++result.coded;
    } else {
      file.write_at(at, tensor.data.data(), tensor.data.size());
      at += tensor.data.size();
    }
    ++entry;
    source.file().release(tensor.data);
  }
  file.truncate(at);
  const SafetensorsFile written(output.partial());
  bool same = written.tensors().size() == original.entries.size();
  for (size_t i = 0; same && i < original.entries.size(); ++i) {
    const auto data = written.tensors()[i].data;
    same = checksum(0, data.data(), data.size()) == original.entries[i].checksum;
  }
  if (!same) refuse_compressed("does not decompress to what it was made of; the file is damaged", in);
  result.bytes_out = at;
  output.commit();
  return result;
}

}  // namespace codecllm
