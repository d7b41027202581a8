// SPDX-License-Identifier: Apache-2.0
// Quantized checkpoints of every layout with changed configs, headers and tensors: reading, verifying and loading them
// works or throws Error. An input is the number of a seed, made here, and a list of edits.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "base/context.h"
#include "base/file.h"
#include "base/rng.h"
#include "io/quant_config.h"
#include "io/safetensors_writer.h"
#include "model/weights.h"
#include "quant/convert.h"
#include "quant/quantize.h"

namespace codecllm {
namespace {

namespace fs = std::filesystem;

const Context& context() {
  static const Context one({.threads = 1});
  return one;
}

// A directory in memory that goes away with the process.
struct Scratch {
  Scratch() : path(fs::temp_directory_path() / ("codecllm-fuzz-" + std::to_string(::getpid()))) { fs::create_directories(path); }
  ~Scratch() { fs::remove_all(path); }
  const fs::path path;
};

const fs::path& scratch() {
  static const Scratch one;
  return one.path;
}

void put(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary | std::ios::trunc) << text; }

struct Seed {
  std::string config, weights;
};

using Tensors = std::map<std::string, std::pair<TensorDecl, std::string>>;

std::string safetensors_text(const Tensors& tensors) {
  std::vector<TensorData> list;
  for (const auto& [name, tensor] : tensors) list.push_back({tensor.first, std::as_bytes(std::span(tensor.second))});
  write_safetensors(scratch() / "made", list);
  return read_file(scratch() / "made");
}

Tensors plain_tensors() {
  Rng rng(1);
  Tensors tensors;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    std::string data(static_cast<size_t>(count) * 2, '\0');
    for (int64_t i = 0; i < count; ++i) {
      const auto bits = static_cast<uint16_t>(0x3C00 | (rng.below(2) << 15) | rng.below(512));
      std::memcpy(data.data() + i * 2, &bits, 2);
    }
    tensors[name] = {{name, DType::bf16, std::move(shape)}, data};
  };
  add("model.embed_tokens.weight", {40, 32});
  add("lm_head.weight", {40, 32});
  add("model.norm.weight", {32});
  const std::string p = "model.layers.0.";
  for (const char* name : {"q", "o"}) add(p + "self_attn." + name + "_proj.weight", {32, 32});
  for (const char* name : {"k", "v"}) add(p + "self_attn." + name + "_proj.weight", {16, 32});
  for (const char* name : {"up", "gate"}) add(p + "mlp." + name + "_proj.weight", {64, 32});
  add(p + "mlp.down_proj.weight", {32, 64});
  for (const char* name : {"input", "post_attention"}) add(p + name + "_layernorm.weight", {32});
  return tensors;
}

constexpr const char* kConfig = R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
 "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 40, "max_position_embeddings": 64, "torch_dtype": "bfloat16"})";

// What bitsandbytes' LLM.int8() writes: codes, and 127 times the scale of each row.
Seed bitsandbytes_seed() {
  Tensors tensors = plain_tensors();
  for (auto& [name, tensor] : plain_tensors()) {
    if (name.find("_proj.") == name.npos) continue;
    const auto rows = static_cast<size_t>(tensor.first.shape[0]);
    tensors[name] = {{name, DType::i8, tensor.first.shape}, tensor.second.substr(0, tensor.second.size() / 2)};
    const std::vector<float> largest(rows, 0.5f);
    const std::string module = name.substr(0, name.size() - 7);
    tensors[module + ".SCB"] = {{module + ".SCB", DType::f32, {static_cast<int64_t>(rows)}},
                                std::string(reinterpret_cast<const char*>(largest.data()), rows * 4)};
  }
  OrderedJson config = OrderedJson::parse(kConfig);
  config["quantization_config"] = {{"quant_method", "bitsandbytes"}, {"load_in_8bit", true}};
  return {config.dump(1), safetensors_text(tensors)};
}

// As DeepSeek and Qwen publish them: block scales under another name.
Seed block_fp8_seed(const Seed& fp8_block) {
  put(scratch() / "block", fp8_block.weights);
  const SafetensorsFile file(scratch() / "block");
  Tensors tensors;
  for (const TensorInfo& tensor : file.tensors()) {
    std::string name = tensor.name;
    if (name.ends_with(".weight_scale")) name += "_inv";
    tensors[name] = {{name, tensor.dtype, tensor.shape}, std::string(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size())};
  }
  OrderedJson config = OrderedJson::parse(kConfig);
  config["quantization_config"] = {{"quant_method", "fp8"}, {"fmt", "e4m3"}, {"activation_scheme", "dynamic"}, {"weight_block_size", {128, 128}}};
  return {config.dump(1), safetensors_text(tensors)};
}

std::vector<Seed> make_seeds() {
  const fs::path plain = scratch() / "plain", out = scratch() / "out";
  fs::create_directories(plain);
  put(plain / "config.json", kConfig);
  put(plain / "model.safetensors", safetensors_text(plain_tensors()));
  std::vector<Seed> seeds;
  const auto take = [&] {
    seeds.push_back({read_file(out / "config.json"), read_file(out / "model.safetensors")});
    fs::remove_all(out);
  };
  for (const char* scheme : {"int8", "int8-tensor", "int4-g32-asym", "int3-g32", "w8a8", "fp8", "fp8-block", "fp8-e5m2", "lossless", "coded-5"}) {
    quantize_checkpoint(context(), plain, out, {.scheme = scheme_preset(scheme), .force = true});
    take();
  }
  seeds.push_back(block_fp8_seed(seeds[6]));
  for (const char* format : {"gptq", "awq"}) {
    convert_checkpoint(context(), plain, out, {.format = format});
    take();
  }
  seeds.push_back(bitsandbytes_seed());
  return seeds;
}

constexpr const char* kValues[] = {"null", "0", "1", "-1", "2", "4", "8", "16", "32", "127", "128", "4294967296", "9223372036854775807", "1e300", "0.5",
                                   "true", "false", "[]", "{}", "[0]", "[-1, 128]", "[9007199254740992, 9007199254740992]", "\"\"", "\"group\"", "\"tensor\"",
                                   "\"channel\"", "\"block\"", "\"token\"", "\"int\"", "\"float\"", "\"static\"", "\"weight\"", "\"I32\"", "\"U8\"",
                                   "\"F32\"", "\"re:.*\"", "\"re:(\"", "\"pack-quantized\"", "\"float-quantized\"", "\"gptq\"", "\"gptq_v2\"",
                                   "\"codecllm\"", "\"re:model.*down_proj\"", "[32, 1]", "[32]", "[64, 32]", "[32, 64, 1]"};

// The value after the n-th colon becomes another.
void replace_value(std::string& text, size_t n, const std::string& value) {
  size_t colons = 0;
  for (const char c : text) colons += c == ':' ? 1 : 0;
  if (colons == 0) return;
  size_t at = text.find(':');
  for (size_t i = 0; i < n % colons; ++i) at = text.find(':', at + 1);
  int depth = 0;
  size_t end = at + 1;
  for (; end < text.size(); ++end) {
    const char c = text[end];
    if (depth == 0 && (c == ',' || c == '}' || c == ']')) break;
    depth += c == '{' || c == '[' ? 1 : c == '}' || c == ']' ? -1 : 0;
  }
  text.replace(at + 1, end - at - 1, value);
}

// Five bytes: what, where (two), a value (two).
void edit(Seed& seed, const uint8_t* e) {
  const size_t where = e[1] | size_t{e[2]} << 8, value = e[3];
  uint64_t length = 0;
  std::memcpy(&length, seed.weights.data(), 8);
  length = std::min<uint64_t>(length, seed.weights.size() - 8);
  std::string header = seed.weights.substr(8, length), data = seed.weights.substr(8 + length);
  const std::string named = kValues[value % std::size(kValues)];
  const auto byte_of = [&](std::string& text, size_t range) {
    if (!text.empty()) text[where % std::min(text.size(), range)] ^= static_cast<char>(value);
  };
  switch (e[0] % 7) {
    case 0: replace_value(seed.config, where, named); break;
    case 1: replace_value(header, where, named); break;
    case 2: byte_of(seed.config, seed.config.size()); break;
    case 3: byte_of(header, header.size()); break;
    case 4: byte_of(data, 400); break;  // shapes are the first tensors
    case 5: byte_of(data, data.size()); break;
    case 6: data.resize(data.size() - where % (data.size() + 1) + e[4]); break;
  }
  length = header.size();
  seed.weights.replace(0, 8, reinterpret_cast<const char*>(&length), 8);
  seed.weights.resize(8);
  seed.weights += header + data;
}

template <class Body>
void throws_error_or_works(const Body& body) {
  try {
    body();
  } catch (const Error&) {  // anything else ends the program
  }
}

}  // namespace
}  // namespace codecllm

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace codecllm;
  static const std::vector<Seed> seeds = make_seeds();
  if (size < 1) return 0;
  Seed seed = seeds[data[0] % seeds.size()];
  for (size_t at = 1; at + 5 <= size && at <= 5 * 16; at += 5) edit(seed, data + at);
  const fs::path model = scratch() / "model";
  fs::create_directories(model);
  put(model / "config.json", seed.config);
  put(model / "model.safetensors", seed.weights);
  throws_error_or_works([&] {
    const Checkpoint checkpoint(model);
    throws_error_or_works([&] { verify(context(), checkpoint, nullptr); });
    throws_error_or_works([&] { load_model(context(), model); });
  });
  return 0;
}
