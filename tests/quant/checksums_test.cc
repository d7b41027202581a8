// SPDX-License-Identifier: Apache-2.0
// Damage to any byte that was written is noticed, and the tensor named.
#include "io/checksums.h"

#include <gmock/gmock.h>

#include "base/rng.h"
#include "quant/convert.h"
#include "quant/quantize.h"
#include "quant/support.h"

namespace codecllm {
namespace {

using testing::Contains;
using testing::HasSubstr;

// What verify says; a model that cannot be opened says so, too.
std::vector<std::string> complaints_about(const std::string& model) {
  try {
    return verify(test::two_threads(), Checkpoint(model), nullptr).bad;
  } catch (const Error& error) {
    EXPECT_TRUE(error.code() == ErrorCode::bad_input || error.code() == ErrorCode::io || error.code() == ErrorCode::unsupported) << error.what();
    return {error.what()};
  }
}

struct Placed {
  std::string name;
  size_t begin, end;
};

// The tensors of a file as they are stored.
std::vector<Placed> tensors_of(const std::string& path) {
  std::vector<Placed> list;
  const auto add = [&](const auto& file) {
    for (const auto& tensor : file.tensors()) {
      const size_t begin = static_cast<size_t>(tensor.data.data() - file.file().bytes().data());
      list.push_back({tensor.name, begin, begin + tensor.data.size()});
    }
  };
  if (is_gguf_path(path)) {
    add(GgufFile(path));
  } else {
    add(SafetensorsFile(path));
  }
  return list;
}

void expect_every_flip_noticed(const std::string& model, const std::string& path, Rng& rng) {
  const std::string whole = read_file(path);
  const std::vector<Placed> tensors = tensors_of(path);
  const size_t header = tensors.front().begin;
  const auto flip = [&](size_t at) {
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ (1 << rng.below(8)));
    std::ofstream(path, std::ios::binary) << changed;
    return complaints_about(model);
  };
  for (int i = 0; i < 60; ++i) {
    const size_t at = i < 30 ? rng.below(header) : rng.below(whole.size());
    EXPECT_FALSE(flip(at).empty()) << path << " byte " << at;
  }
  for (int i = 0; i < 40; ++i) {
    const Placed& tensor = tensors[rng.below(tensors.size())];
    if (tensor.begin == tensor.end) continue;
    const size_t at = i % 3 == 0 ? tensor.begin : i % 3 == 1 ? tensor.end - 1 : tensor.begin + rng.below(tensor.end - tensor.begin);
    // A GGUF tensor goes by its name in Hugging Face's layout where it is taken as it is.
    EXPECT_THAT(flip(at), Contains(HasSubstr(is_gguf_path(path) ? "not those that were written" : tensor.name))) << path << " byte " << at;
  }
  std::ofstream(path, std::ios::binary) << whole;
  EXPECT_TRUE(complaints_about(model).empty());
}

TEST(StoredChecksums, NoticeEveryFlippedByteOfEveryKindOfOutput) {
  Rng rng(5);
  const std::string source = test::model_data("llama-bf16");
  for (const char* scheme : {"int8", "int4-g128", "fp8-block", "f16", "lossless", "int8-coded"}) {
    const test::TempDirectory temp;
    quantize_checkpoint(test::two_threads(), source, temp / "q", {.scheme = scheme_preset(scheme), .shard_bytes = 30000});
    std::vector<std::string> shards;
    for (const auto& [name, text] : test::files_of(temp / "q"))
      if (name.ends_with(".safetensors")) shards.push_back(name);
    ASSERT_GT(shards.size(), 1u);
    expect_every_flip_noticed(temp / "q", temp / "q/" + shards[rng.below(shards.size())], rng);
    const VerifyResult result = verify(test::two_threads(), Checkpoint(temp / "q"), nullptr);
    EXPECT_EQ(result.checksums, result.tensors) << scheme;
  }
  const test::TempDirectory temp;
  const std::string model = test::copied_model("llama-bf16", temp / "m");
  const Json all = read_json_file(test::source_path("tests/text/data/tokenizer_llama2.json"));
  write_file_atomically(model + "/tokenizer.json", dump_json(all.at("tokenizer")));
  for (const char* format : {"gptq", "bf16", "gguf"}) {
    const std::string out = temp / "out." + format;
    convert_checkpoint(test::two_threads(), model, out, {.format = format});
    expect_every_flip_noticed(out, out + (std::string(format) == "gguf" ? "" : "/model.safetensors"), rng);
    EXPECT_GT(verify(test::two_threads(), Checkpoint(out), nullptr).checksums, 20);
  }
}

TEST(StoredChecksums, AreThoseOfACallThatNeverStopped) {
  const test::TempDirectory temp;
  const auto quantize = [&](const std::string& out, const Progress& progress) {
    quantize_checkpoint(test::two_threads(), test::model_data("llama-bf16"), out, {.scheme = scheme_preset("int8"), .shard_bytes = 40000}, progress);
  };
  quantize(temp / "whole", {});
  int calls = 0;
  test::error_of([&] { quantize(temp / "out", [&](double, std::string_view) { return ++calls < 12; }); }, ErrorCode::interrupted);
  quantize(temp / "out", {});
  EXPECT_EQ(test::difference(temp / "out", temp / "whole"), "");
  EXPECT_TRUE(test::exists(temp / "out/codecllm_checksums.json"));
}

TEST(StoredChecksums, AreNotAskedOfModelsOfOthers) {
  const VerifyResult result = verify(test::two_threads(), Checkpoint(test::model_data("llama-bf16")), nullptr);
  EXPECT_EQ(result.checksums, 0);
  EXPECT_TRUE(result.bad.empty());
}

TEST(StoredChecksums, DamageToTheirFileIsNamed) {
  const test::TempDirectory temp;
  quantize_checkpoint(test::two_threads(), test::model_data("llama-bf16"), temp / "q", {.scheme = scheme_preset("int8")});
  const std::string path = temp / "q/codecllm_checksums.json", good = read_file(path);
  const auto complaints = [&](const Json& json) {
    write_file_atomically(path, dump_json(json));
    return complaints_about(temp / "q");
  };
  const Json whole = parse_json(good, path);
  const char* tensor = "model.norm.weight";
  Json json = whole;
  json["files"]["model.safetensors"]["tensors"].erase(tensor);
  EXPECT_THAT(complaints(json), Contains(HasSubstr(tensor)));
  json = whole;
  json["files"]["model.safetensors"]["tensors"]["gone.weight"] = "0123456789abcdef";
  EXPECT_THAT(complaints(json), Contains(HasSubstr("gone.weight")));
  json = whole;
  json["files"]["gone.safetensors"] = json["files"]["model.safetensors"];
  EXPECT_THAT(complaints(json), Contains(HasSubstr("gone.safetensors")));
  json["files"].erase("model.safetensors");
  EXPECT_THAT(complaints(json), Contains(HasSubstr("knows nothing")));
  for (const char* text : {"[]", "{}", R"({"version": 2, "files": {}})", R"({"version": 1})", R"({"version": 1, "files": {"model.safetensors": 3}})",
                           R"({"version": 1, "files": {"model.safetensors": {"header": 7, "tensors": {}}}})",
                           R"({"version": 1, "files": {"model.safetensors": {"header": "0123", "tensors": {}}}})"})
    EXPECT_THAT(complaints(parse_json(text, "")), Contains(HasSubstr("codecllm_checksums.json"))) << text;
}

}  // namespace
}  // namespace codecllm
