// SPDX-License-Identifier: Apache-2.0
#include "io/gguf.h"

#include <cstring>
#include <unordered_set>

#include "io/header_scanner.h"

namespace codecllm {

namespace {

constexpr uint32_t kGgufBool = 7, kGgufText = 8, kGgufList = 9;

class GgufParser {
 public:
  GgufParser(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  GgufHeader parse() {
    if (bytes_.size() < 4 || std::memcmp(bytes_.data(), "GGUF", 4) != 0) fail("does not begin with 'GGUF'");
    at_ = 4;
    check_version(number<uint32_t>("version"));
    const uint64_t tensors = count("tensors", GgufLimits::tensors);
    const uint64_t entries = count("metadata entries", GgufLimits::metadata_entries);
    for (uint64_t i = 0; i < entries; ++i) read_entry();
    if (json_or<int64_t>(header_.metadata, "split.count", 1, file_) > 1)
      throw Error(ErrorCode::unsupported, "gguf", "one part of a split model; join the parts with llama-gguf-split --merge",
                  {.file = file_});
    for (uint64_t i = 0; i < tensors; ++i) read_tensor();
    place_tensors();
    return std::move(header_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::bad_input, "gguf", what + " (byte " + std::to_string(at_) + ")", {.file = file_});
  }

  [[noreturn]] void fail(const GgufTensor& tensor, const std::string& what, ErrorCode code = ErrorCode::bad_input) const {
    throw Error(code, "gguf", what, {.file = file_, .tensor = shown(tensor.name)});
  }

  void check_version(uint32_t version) const {
    if (version == 2 || version == 3) return;
    const std::string text = version == 0x03000000 ? "big-endian data"
                             : version == 1        ? "version 1"
                                                   : "version " + std::to_string(version);
    throw Error(ErrorCode::unsupported, "gguf", text + ", expected version 2 or 3; convert the model again with today's tools",
                {.file = file_});
  }

  size_t left() const { return bytes_.size() - at_; }

  template <class T>
  T number(const char* what) {
    if (left() < sizeof(T)) fail(std::string("ends within the ") + what + "; is the file cut short?");
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }

  uint64_t count(const char* what, uint64_t limit) {
    const auto n = number<uint64_t>(what);
    if (n > limit) fail(std::to_string(n) + " " + what + ", at most " + std::to_string(limit));
    return n;
  }

  std::string text(const char* what, uint64_t limit) {
    const auto n = number<uint64_t>(what);
    if (n > limit || n > left())
      fail(std::string("a ") + what + " of " + std::to_string(n) + " bytes, at most " + std::to_string(std::min<uint64_t>(limit, left())));
    std::string out(reinterpret_cast<const char*>(bytes_.data()) + at_, n);
    at_ += n;
    return out;
  }

  void read_entry() {
    std::string key = text("key", GgufLimits::name_bytes);
    if (key.empty()) fail("an empty key");
    if (header_.metadata.contains(key)) fail("key '" + shown(key) + "' stands twice");
    const auto kind = number<uint32_t>("kind of a value");
    header_.metadata[std::move(key)] = kind == kGgufList ? list() : value(kind);
  }

  Json value(uint32_t kind) {
    switch (kind) {
#define GGUF_NUMBER(id, type) \
  case id: return number<type>("value");
#include "io/gguf_value.def"
#undef GGUF_NUMBER
      case kGgufBool: {
        const auto byte = number<uint8_t>("value");
        if (byte > 1) fail("neither true nor false: " + std::to_string(byte));
        return byte == 1;
      }
      case kGgufText: return text("text", left());
      default: fail("a value of the unknown kind " + std::to_string(kind));
    }
  }

  // Smallest size of an element, so that a count can be held against the bytes that are left.
  uint64_t element_bytes(uint32_t kind) const {
    switch (kind) {
#define GGUF_NUMBER(id, type) \
  case id: return sizeof(type);
#include "io/gguf_value.def"
#undef GGUF_NUMBER
      case kGgufBool: return 1;
      case kGgufText: return 8;
      default: fail("a list of the unknown kind " + std::to_string(kind));
    }
  }

  Json list() {
    const auto kind = number<uint32_t>("kind of a list");
    const auto n = number<uint64_t>("length of a list");
    if (n > left() / element_bytes(kind)) fail("a list of " + std::to_string(n) + " elements in " + std::to_string(left()) + " bytes");
    elements_ += n;
    if (elements_ > GgufLimits::array_elements)
      fail("lists of more than " + std::to_string(GgufLimits::array_elements) + " elements");
    Json out = Json::array();
    out.get_ref<Json::array_t&>().reserve(n);
    for (uint64_t i = 0; i < n; ++i) out.push_back(value(kind));
    return out;
  }

  void read_tensor() {
    GgufTensor tensor;
    tensor.name = text("tensor's name", GgufLimits::name_bytes);
    if (!names_.insert(tensor.name).second) fail(tensor, "the name stands twice");
    const auto dimensions = number<uint32_t>("dimensions");
    if (dimensions > GgufLimits::dimensions) fail(tensor, std::to_string(dimensions) + " dimensions, at most 4");
    for (uint32_t i = 0; i < dimensions; ++i) {
      const auto size = number<uint64_t>("dimensions");
      if (size >= uint64_t{1} << 63) fail(tensor, "a dimension of " + std::to_string(size));
      tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
    }
    const auto kind = number<uint32_t>("type of a tensor");
    const auto type = ggml_type_of(kind);
    if (!type)
      fail(tensor, "numbers of type " + std::to_string(kind) + ", which is not known in this version", ErrorCode::unsupported);
    tensor.type = *type;
    offsets_.push_back(number<uint64_t>("offset"));
    header_.tensors.push_back(std::move(tensor));
  }

  uint64_t bytes_of(const GgufTensor& tensor) const {
    const GgmlTraits& traits = ggml_traits(tensor.type);
    uint64_t elements = 1;
    for (const int64_t size : tensor.shape)
      if (__builtin_mul_overflow(elements, static_cast<uint64_t>(size), &elements) || elements >= uint64_t{1} << 63)
        fail(tensor, "the product of its dimensions overflows");
    const int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
    if (row % traits.block_values != 0)
      fail(tensor, "rows of " + std::to_string(row) + " values are not whole blocks of " + std::to_string(traits.block_values));
    uint64_t bytes = 0;
    if (__builtin_mul_overflow(elements / static_cast<uint64_t>(traits.block_values), static_cast<uint64_t>(traits.block_bytes), &bytes))
      fail(tensor, "its size overflows");
    return bytes;
  }

  // Tensors lie one after the other, each padded to the alignment.
  void place_tensors() {
    const auto alignment = json_or<uint64_t>(header_.metadata, "general.alignment", 32, file_);
    if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > 1 << 20)
      fail("general.alignment is " + std::to_string(alignment) + ", expected a power of two up to 2^20");
    const auto padded = [&](uint64_t n) { return (n + alignment - 1) / alignment * alignment; };
    const uint64_t start = padded(at_);
    if (start > bytes_.size() && !header_.tensors.empty()) fail("the data is missing; is the file cut short?");
    uint64_t at = 0;
    for (size_t i = 0; i < header_.tensors.size(); ++i) {
      GgufTensor& tensor = header_.tensors[i];
      const uint64_t size = bytes_of(tensor), room = bytes_.size() - start;
      if (offsets_[i] != at)
        fail(tensor, "begins at " + std::to_string(offsets_[i]) + " of the data, expected " + std::to_string(at) +
                         ", where the one before it ends");
      if (at > room || size > room - at) fail(tensor, "reaches beyond the end; is the file cut short?");
      tensor.data = bytes_.subspan(start + at, size);
      at = padded(at + size);  // below 2^63: size is at most the file's
    }
  }

  std::span<const std::byte> bytes_;
  const std::string& file_;
  size_t at_ = 0;
  uint64_t elements_ = 0;
  std::unordered_set<std::string> names_;
  std::vector<uint64_t> offsets_;
  GgufHeader header_;
};

}  // namespace

int64_t GgufTensor::elements() const {
  int64_t n = 1;
  for (const int64_t size : shape) n *= size;
  return n;
}

GgufHeader parse_gguf(std::span<const std::byte> bytes, const std::string& file) { return GgufParser(bytes, file).parse(); }

GgufFile::GgufFile(const std::string& path) : file_(path), header_(parse_gguf(file_.bytes(), file_.path())) {
  for (size_t i = 0; i < header_.tensors.size(); ++i) index_.emplace(header_.tensors[i].name, i);
}

const GgufTensor* GgufFile::find(std::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &header_.tensors[it->second];
}

bool is_gguf_path(std::string_view path) { return path.ends_with(".gguf") && file_exists(std::string(path)); }

}  // namespace codecllm
