// SPDX-License-Identifier: Apache-2.0
#include "io/quant_method.h"

#include <algorithm>
#include <cstring>

#include "format/plain_float.h"
#include "io/packed.h"

namespace codecllm {

namespace {

struct MethodRow {
  std::string_view name;
  void (*translate)(const Checkpoint& checkpoint, const Json& settings, Translation& out);
};

constexpr MethodRow kQuantMethods[] = {
#define QUANT_METHOD(name, function) {name, quant_method::function},
#include "io/quant_method.def"
#undef QUANT_METHOD
};

// Where the tools of GPTQ and AWQ wrote the settings before config.json had a place for them.
struct SettingsFile {
  const char *name, *method;
};
constexpr SettingsFile kSettingsFiles[] = {{"quantize_config.json", "gptq"}, {"quant_config.json", "awq"}};

// The settings and the method's name.
std::pair<Json, std::string> settings_of(const Checkpoint& checkpoint) {
  const auto it = checkpoint.config().find("quantization_config");
  if (it != checkpoint.config().end() && it->is_object())
    return {*it, json_or<std::string>(*it, "quant_method", "", checkpoint.config_path())};
  const auto coded = [](const TensorInfo* tensor) { return tensor->name.ends_with(".qweight"); };
  if (std::none_of(checkpoint.tensors().begin(), checkpoint.tensors().end(), coded)) return {};
  for (const SettingsFile& file : kSettingsFiles)
    if (const std::string path = checkpoint.directory() + "/" + file.name; file_exists(path)) return {read_json_file(path), file.method};
  throw Error(ErrorCode::bad_input, "quantization_config", "weights are stored as codes (qweight), and neither config.json nor quantize_config.json "
              "says how; fetch the model's JSON files again", {.file = checkpoint.config_path()});
}

}  // namespace

std::optional<Translation> translate_quant_method(const Checkpoint& checkpoint) {
  const auto [settings, method] = settings_of(checkpoint);
  for (const MethodRow& row : kQuantMethods) {
    if (row.name != method) continue;
    Translation out;
    out.config = checkpoint.config();
    row.translate(checkpoint, settings, out);
    return out;
  }
  return std::nullopt;
}

void SchemeList::add(const std::string& module, const QuantScheme& scheme, const std::string& format, bool group_order) {
  for (QuantGroup& group : groups_)
    if (group.scheme == scheme && group.format == format && group.group_order == group_order)
      return group.targets.push_back(module);
  groups_.push_back({"group_" + std::to_string(groups_.size()), {module}, scheme, format, group_order});
}

Json SchemeList::config() const {
  Json out = parse_json(dump_json(make_quant_config(groups_, {})), "quantization_config");
  for (const QuantGroup& group : groups_)
    if (group.group_order) out["config_groups"][group.name]["weights"]["actorder"] = "group";
  return out;
}

void put_packed(const CodedLinear& linear, const std::string& module, const MappedFile& file, Translation& out, SchemeList& schemes) {
  const int64_t rows = linear.rows, columns = linear.columns, groups = columns / linear.group;
  const auto words = [&](int64_t n) { return static_cast<int64_t>(packed_words(static_cast<size_t>(n), linear.bits)); };
  const auto packed = out.make(module + ".weight_packed", DType::i32, {rows, words(columns)}, file);
  std::vector<uint32_t> line(static_cast<size_t>(words(columns)));
  for (int64_t row = 0; row < rows; ++row) {
    pack_row(linear.codes.data() + row * columns, static_cast<size_t>(columns), linear.bits, line.data());
    std::memcpy(packed.data() + row * words(columns) * 4, line.data(), line.size() * 4);
  }
  const auto scales = out.make(module + ".weight_scale", linear.scale_type, {rows, groups}, file);
  for (int64_t i = 0; i < rows * groups; ++i) store_float(scales.data(), i, linear.scale_type, linear.scales[static_cast<size_t>(i)]);
  const int64_t shape[2] = {rows, columns};
  std::memcpy(out.make(module + ".weight_shape", DType::i64, {2}, file).data(), shape, sizeof shape);

  QuantArgs args = {.num_bits = linear.bits, .strategy = linear.group == columns ? Strategy::channel : Strategy::group};
  if (args.strategy == Strategy::group) args.group_size = static_cast<int>(linear.group);
  args.symmetric = std::all_of(linear.zeros.begin(), linear.zeros.end(), [](int8_t zero) { return zero == 0; });
  if (!args.symmetric) {
    const auto zeros = out.make(module + ".weight_zero_point", DType::i32, {words(rows), groups}, file);
    std::vector<uint32_t> all(zeros.size() / 4);
    pack_zero_points(linear.zeros.data(), static_cast<size_t>(rows), static_cast<size_t>(groups), linear.bits, all.data());
    std::memcpy(zeros.data(), all.data(), zeros.size());
  }
  bool scattered = false;
  for (size_t k = 0; k < linear.group_of_column.size(); ++k)
    scattered = scattered || linear.group_of_column[k] != static_cast<int32_t>(static_cast<int64_t>(k) / linear.group);
  if (scattered)
    std::memcpy(out.make(module + ".weight_g_idx", DType::i32, {columns}, file).data(), linear.group_of_column.data(),
                linear.group_of_column.size() * 4);
  schemes.add(module, {.name = "custom", .weights = args}, "pack-quantized", scattered);
}

}  // namespace codecllm
