// SPDX-License-Identifier: Apache-2.0
#include "io/quant_args.h"

#include <algorithm>
#include <charconv>

#include "codecllm/error.h"
#include "io/header_scanner.h"

namespace codecllm {

namespace {

struct ScaleName {
  const char* name;
  DType type;
};
constexpr ScaleName kScaleNames[] = {{"torch.float8_e8m0fnu", DType::f8_e8m0}, {"torch.uint8", DType::f8_e8m0},
                                     {"torch.float32", DType::f32}, {"torch.bfloat16", DType::bf16},
                                     {"torch.float16", DType::f16}};

// Reads the fields of one QuantArgs; keeps what every message needs.
class ArgsReader {
 public:
  ArgsReader(const Json& json, const std::string& where, const std::string& file)
      : json_(json), where_(where), file_(file) {}

  StoredQuantArgs read() {
    if (!json_.is_object()) bad("is not an object");
    StoredQuantArgs out;
    read_numbers(out.args);
    read_dynamic(out.args);
    read_strategy(out.args);
    read_outliers(out.args);
    out.group_order = read_group_order();
    if (out.group_order && out.args.strategy != Strategy::group) bad("has actorder 'group' without groups");
    return out;
  }

 private:
  [[noreturn]] void bad(const std::string& what) const {
    throw Error(ErrorCode::bad_input, "quantization_config", where_ + " " + what, {.file = file_});
  }
  [[noreturn]] void unsupported(const std::string& what) const {
    throw Error(ErrorCode::unsupported, "quantization_config",
                where_ + " has " + what + ", which is not read in this version", {.file = file_});
  }
  std::string text(const char* key, const char* fallback) const {
    std::string value = json_or<std::string>(json_, key, fallback, file_);
    std::transform(value.begin(), value.end(), value.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    return value;
  }

  void read_numbers(QuantArgs& args) const {
    args.num_bits = json_or<int>(json_, "num_bits", 8, file_);
    args.symmetric = json_or<bool>(json_, "symmetric", true, file_);
    const std::string type = text("type", "int");
    if (type != "int" && type != "float" && type != "float_e5m2")
      bad("has type '" + shown(type) + "', expected int or float");
    args.type = type == "int"     ? NumberType::integer
                : type == "float" ? NumberType::floating
                                  : NumberType::float_e5m2;
    const bool fits = type == "int" ? args.num_bits >= 1 && args.num_bits <= 8 : args.num_bits == 8;
    if (!fits) unsupported(type + " numbers of " + std::to_string(args.num_bits) + " bits");
    for (const ScaleName& scale : kScaleNames)
      if (text("scale_dtype", "") == scale.name) args.scale_dtype = scale.type;
  }

  void read_dynamic(QuantArgs& args) const {
    const auto it = json_.find("dynamic");
    if (it != json_.end() && it->is_string()) unsupported("dynamic '" + shown(it->get<std::string>()) + "'");
    args.dynamic = json_or<bool>(json_, "dynamic", false, file_);
  }

  void read_strategy(QuantArgs& args) const {
    const auto group = json_find<int>(json_, "group_size", file_);
    if (group && (*group < -1 || *group == 0)) bad("has group_size " + std::to_string(*group));
    const bool sized = group && *group > 0;
    const std::string name = text("strategy", sized ? "group" : group ? "channel" : "tensor");
    const auto strategy = strategy_from_name(name);
    if (!strategy) unsupported("strategy '" + shown(name) + "'");
    args.strategy = *strategy;
    if (sized != (*strategy == Strategy::group))
      bad(sized ? "has group_size " + std::to_string(*group) + " with strategy '" + name + "'"
                : "has strategy 'group' without a group_size");
    if (sized) args.group_size = *group;
    const auto block = json_.find("block_structure");
    const bool has_block = block != json_.end() && !block->is_null();
    if (has_block != (*strategy == Strategy::block))
      bad("needs block_structure with strategy 'block', and only then");
    if (has_block) args.block = read_block(*block);
    if (*strategy == Strategy::token && !args.dynamic) bad("has strategy 'token' that is not dynamic");
    if (args.dynamic && (*strategy == Strategy::channel || *strategy == Strategy::block))
      bad("has strategy '" + name + "' that is dynamic");
  }

  // Our own: compressed-tensors has no word for LLM.int8().
  void read_outliers(QuantArgs& args) const {
    const auto it = json_.find("outliers");
    if (it == json_.end() || it->is_null()) return;
    if (!it->is_object()) bad("has outliers that are not an object");
    args.outliers = OutlierArgs{.threshold = json_need<float>(*it, "threshold", file_), .stored = json_need<bool>(*it, "stored", file_)};
    if (!(args.outliers->threshold > 0)) bad("has outliers with a threshold that is not positive");
  }

  // [rows, columns], or "128x128" as older files have it
  std::array<int, 2> read_block(const Json& json) const {
    std::array<int, 2> block = {0, 0};
    if (json.is_string()) {
      const std::string& text = json.get_ref<const std::string&>();
      const char* end = text.data() + text.size();
      const auto rows = std::from_chars(text.data(), end, block[0]);
      if (rows.ec != std::errc() || rows.ptr == end || *rows.ptr != 'x') bad("has a bad block_structure");
      const auto columns = std::from_chars(rows.ptr + 1, end, block[1]);
      if (columns.ec != std::errc() || columns.ptr != end) bad("has a bad block_structure");
    } else {
      if (!json.is_array() || json.size() != 2 || !json_is<int>(json[0]) || !json_is<int>(json[1]))
        bad("has a bad block_structure, expected [rows, columns]");
      block = {json[0].get<int>(), json[1].get<int>()};
    }
    if (block[0] < 1 || block[1] < 1) bad("has a bad block_structure, expected sizes of 1 or more");
    return block;
  }

  // "weight" (alias "static") only changes how the quantizer worked: nothing on disk.
  bool read_group_order() const {
    const auto it = json_.find("actorder");
    if (it == json_.end() || it->is_null()) return false;
    if (it->is_boolean()) return it->get<bool>();
    const std::string name = text("actorder", "");
    if (name == "weight" || name == "static") return false;
    if (name != "group" && name != "dynamic")
      bad("has actorder '" + shown(name) + "', expected group or weight");
    return true;
  }

  const Json& json_;
  const std::string& where_;
  const std::string& file_;
};

}  // namespace

StoredQuantArgs read_quant_args(const Json& json, const std::string& where, const std::string& file) {
  return ArgsReader(json, where, file).read();
}

OrderedJson write_quant_args(const QuantArgs& args) {
  OrderedJson json;
  json["num_bits"] = args.num_bits;
  json["type"] = args.type == NumberType::integer ? "int" : args.type == NumberType::floating ? "float" : "float_e5m2";
  json["symmetric"] = args.symmetric;
  json["group_size"] = args.strategy == Strategy::group ? OrderedJson(args.group_size) : OrderedJson();
  json["strategy"] = strategy_name(args.strategy);
  json["block_structure"] = args.strategy == Strategy::block ? OrderedJson(args.block) : OrderedJson();
  json["dynamic"] = args.dynamic;
  json["actorder"] = nullptr;
  if (args.scale_dtype)
    for (const ScaleName& scale : kScaleNames)
      if (scale.type == *args.scale_dtype && !json.contains("scale_dtype")) json["scale_dtype"] = scale.name;
  if (args.outliers) json["outliers"] = {{"threshold", args.outliers->threshold}, {"stored", args.outliers->stored}};
  json["observer"] = args.dynamic ? OrderedJson() : OrderedJson("minmax");
  json["observer_kwargs"] = OrderedJson::object();
  return json;
}

}  // namespace codecllm
