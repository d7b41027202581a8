// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "codecllm/error.h"
#include "io/header_scanner.h"

namespace codecllm {

namespace {

using Limits = SafetensorsLimits;

struct Entry {
  TensorInfo info;
  int64_t begin = 0, end = 0;
};

[[noreturn]] void fail(const std::string& what, const std::string& file, const std::string& tensor = {}) {
  throw Error(ErrorCode::bad_input, "safetensors", what, {.file = file, .tensor = shown(tensor)});
}

// [a, b, ...] of at most `limit` numbers
std::vector<int64_t> numbers(HeaderScanner& scan, size_t limit) {
  std::vector<int64_t> list;
  scan.expect('[');
  if (scan.accept(']')) return list;
  do {
    if (list.size() == limit) scan.fail("a list of more than " + std::to_string(limit) + " numbers");
    list.push_back(scan.number());
  } while (scan.accept(','));
  scan.expect(']');
  return list;
}

DType dtype_of(HeaderScanner& scan) {
  const std::string name = scan.string(64);
  const auto dtype = dtype_from_name(name);
  if (!dtype) scan.fail("dtype '" + shown(name) + "' is not known");
  return *dtype;
}

// {"dtype": ..., "shape": [...], "data_offsets": [begin, end]}, each once, in any order
Entry entry(HeaderScanner& scan) {
  Entry out;
  bool dtype = false, shape = false, offsets = false;
  const auto once = [&](bool& seen, const char* key) {
    if (seen) scan.fail(std::string("'") + key + "' stands twice");
    seen = true;
  };
  scan.expect('{');
  do {
    const std::string key = scan.string(64);
    scan.expect(':');
    if (key == "dtype") {
      once(dtype, "dtype");
      out.info.dtype = dtype_of(scan);
    } else if (key == "shape") {
      once(shape, "shape");
      out.info.shape = numbers(scan, Limits::dimensions);
    } else if (key == "data_offsets") {
      once(offsets, "data_offsets");
      const std::vector<int64_t> pair = numbers(scan, 2);
      if (pair.size() != 2) scan.fail("'data_offsets' needs two numbers");
      out.begin = pair[0];
      out.end = pair[1];
    } else {
      scan.fail("key '" + shown(key) + "' is not one of dtype, shape, data_offsets");
    }
  } while (scan.accept(','));
  scan.expect('}');
  if (!dtype || !shape || !offsets) scan.fail("a tensor needs dtype, shape and data_offsets");
  return out;
}

std::map<std::string, std::string> metadata(HeaderScanner& scan) {
  std::map<std::string, std::string> out;
  scan.expect('{');
  if (scan.accept('}')) return out;
  do {
    if (out.size() == Limits::metadata_entries) scan.fail("too many entries in __metadata__");
    std::string key = scan.string(Limits::name_bytes);
    scan.expect(':');
    if (!out.emplace(key, scan.string(Limits::header_bytes)).second)
      scan.fail("key '" + shown(key) + "' stands twice in __metadata__");
  } while (scan.accept(','));
  scan.expect('}');
  return out;
}

std::vector<Entry> entries(HeaderScanner& scan, std::map<std::string, std::string>& meta) {
  std::vector<Entry> out;
  std::unordered_set<std::string> names;
  scan.expect('{');
  if (scan.accept('}')) return out;
  do {
    std::string name = scan.string(Limits::name_bytes);
    if (!names.insert(name).second) scan.fail("name '" + shown(name) + "' stands twice");
    if (name.find('\0') != name.npos) scan.fail("name '" + shown(name) + "' holds a zero character");
    scan.expect(':');
    if (name == "__metadata__") {
      meta = metadata(scan);
      continue;
    }
    if (out.size() == Limits::tensors) scan.fail("more than " + std::to_string(Limits::tensors) + " tensors");
    out.push_back(entry(scan));
    out.back().info.name = std::move(name);
  } while (scan.accept(','));
  scan.expect('}');
  return out;
}

// Each tensor begins where the one before ended, has the size of its shape, and the last ends with the file.
void place(std::vector<Entry>& list, std::span<const std::byte> buffer, const std::string& file) {
  std::stable_sort(list.begin(), list.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  uint64_t at = 0;
  for (Entry& e : list) {
    const uint64_t begin = static_cast<uint64_t>(e.begin), end = static_cast<uint64_t>(e.end);
    const std::string range = std::to_string(begin) + " to " + std::to_string(end);
    if (begin != at)
      fail("data at " + range + (begin < at ? " overlaps the tensor before it" : " leaves a hole before it") +
               ", expected to begin at " + std::to_string(at),
           file, e.info.name);
    if (end < begin || end > buffer.size())
      fail("data at " + range + " of a buffer of " + std::to_string(buffer.size()) +
               " bytes; is the file cut short?",
           file, e.info.name);
    const uint64_t bytes = tensor_bytes(e.info.dtype, e.info.shape, ErrorCode::bad_input,
                                        {.file = file, .tensor = shown(e.info.name)});
    if (bytes != end - begin)
      fail("data of " + std::to_string(end - begin) + " bytes, its shape needs " + std::to_string(bytes),
           file, e.info.name);
    e.info.data = buffer.subspan(begin, bytes);
    at = end;
  }
  if (at != buffer.size())
    fail("the tensors end at byte " + std::to_string(at) + " of the buffer, the file has " +
             std::to_string(buffer.size()),
         file);
}

// The header's JSON. Nothing but sizes is looked at, and nothing allocated.
std::string_view header_text(std::span<const std::byte> bytes, const std::string& file) {
  if (bytes.size() < 8)
    fail("only " + std::to_string(bytes.size()) + " bytes, expected a header length of 8", file);
  uint64_t length = 0;
  for (size_t i = 0; i < 8; ++i) length |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  if (length > Limits::header_bytes)
    fail("header length " + std::to_string(length) + ", at most " + std::to_string(Limits::header_bytes) +
             " expected; this is not a safetensors file",
         file);
  if (length > bytes.size() - 8)
    fail("header length " + std::to_string(length) + " in a file of " + std::to_string(bytes.size()) +
             " bytes; is the file cut short?",
         file);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + 8, length);
  if (text.empty() || text[0] != '{') fail("the header does not begin with '{'", file);
  return text;
}

}  // namespace

std::string shape_text(std::span<const int64_t> shape) {
  std::string text = "[";
  for (const int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

int64_t TensorInfo::elements() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

uint64_t tensor_bytes(DType dtype, std::span<const int64_t> shape, ErrorCode code, const ErrorPlace& where) {
  uint64_t count = 1;
  bool overflow = false, empty = false;
  for (const int64_t size : shape) {
    if (size < 0)
      throw Error(code, "safetensors", "a size of " + std::to_string(size) + " in its shape", where);
    empty |= size == 0;
    if (size > 0) overflow |= __builtin_mul_overflow(count, static_cast<uint64_t>(size), &count);
  }
  // Overflow counts even where another size is 0: nobody writes such a shape, and readers disagree on it.
  uint64_t bits = 0;
  overflow |= count > static_cast<uint64_t>(INT64_MAX);
  overflow |= __builtin_mul_overflow(count, static_cast<uint64_t>(dtype_bits(dtype)), &bits);
  if (overflow) throw Error(code, "safetensors", "its shape has more elements than 64 bits can count", where);
  if (empty) return 0;
  if (bits % 8 != 0)
    throw Error(code, "safetensors", std::to_string(bits) + " bits of data do not fill whole bytes", where);
  return bits / 8;
}

SafetensorsHeader parse_safetensors(std::span<const std::byte> bytes, const std::string& file) {
  const std::string_view text = header_text(bytes, file);
  SafetensorsHeader header;
  HeaderScanner scan(text, file);
  std::vector<Entry> list = entries(scan, header.metadata);
  scan.expect_end();
  place(list, bytes.subspan(8 + text.size()), file);
  header.bytes = 8 + text.size();
  header.tensors.reserve(list.size());
  for (Entry& e : list) header.tensors.push_back(std::move(e.info));
  return header;
}

SafetensorsFile::SafetensorsFile(const std::string& path)
    : file_(path), header_(parse_safetensors(file_.bytes(), path)) {
  index_.reserve(header_.tensors.size());
  for (size_t i = 0; i < header_.tensors.size(); ++i) index_.emplace(header_.tensors[i].name, i);
}

const TensorInfo* SafetensorsFile::find(std::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &header_.tensors[it->second];
}

}  // namespace codecllm
