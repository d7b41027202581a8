// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint.h"

#include <gmock/gmock.h>

#include "io/safetensors_writer.h"
#include "io/support.h"

namespace codecllm {
namespace {

using test::error_of;
using test::TempDirectory;
using testing::ElementsAre;
using testing::HasSubstr;

// A safetensors file of one-byte tensors with these names.
void put_file(const TempDirectory& directory, const std::string& file,
              const std::vector<std::string>& names) {
  const std::string data = "x";
  std::vector<TensorData> tensors;
  for (const std::string& name : names) tensors.push_back({{name, DType::u8, {1}}, test::bytes_of(data)});
  write_safetensors(directory / file, tensors);
}

std::vector<std::string> names_of(const Checkpoint& checkpoint) {
  std::vector<std::string> names;
  for (const TensorInfo* tensor : checkpoint.tensors()) names.push_back(tensor->name);
  return names;
}

class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest() { dir.write("config.json", R"({"model_type":"llama"})"); }
  std::string refusal(ErrorCode code = ErrorCode::bad_input) {
    return error_of([&] { Checkpoint checkpoint(dir.path()); }, code);
  }
  void put_index(const std::string& map) {
    dir.write("model.safetensors.index.json", R"({"metadata":{},"weight_map":)" + map + "}");
  }
  TempDirectory dir;
};

TEST_F(CheckpointTest, OpensASingleFile) {
  put_file(dir, "model.safetensors", {"b", "a"});
  const Checkpoint checkpoint(dir.path() + "/");
  EXPECT_EQ(checkpoint.directory(), dir.path());
  EXPECT_EQ(checkpoint.config().at("model_type"), "llama");
  EXPECT_THAT(names_of(checkpoint), ElementsAre("a", "b"));
  EXPECT_EQ(checkpoint.total_bytes(), 2u);
  EXPECT_EQ(checkpoint.file_of(checkpoint.need("a")), dir / "model.safetensors");
  checkpoint.release(checkpoint.need("a"));
  EXPECT_EQ(checkpoint.need("a").data[0], std::byte{'x'});
  EXPECT_EQ(checkpoint.find("c"), nullptr);
}

TEST_F(CheckpointTest, OpensShardsAndIgnoresWhatTheIndexLeavesOut) {
  put_file(dir, "model-00001-of-00002.safetensors", {"w", "extra"});
  put_file(dir, "model-00002-of-00002.safetensors", {"w.scale", "w"});
  put_file(dir, "consolidated.safetensors", {"other"});
  put_index(R"({"w.scale":"model-00002-of-00002.safetensors","w":"model-00001-of-00002.safetensors"})");
  Checkpoint opened(dir.path());
  const Checkpoint checkpoint = std::move(opened);
  EXPECT_THAT(names_of(checkpoint), ElementsAre("w", "w.scale"));
  EXPECT_EQ(checkpoint.file_of(checkpoint.need("w")), dir / "model-00001-of-00002.safetensors");
  EXPECT_EQ(checkpoint.file_of(checkpoint.need("w.scale")), dir / "model-00002-of-00002.safetensors");
  EXPECT_EQ(checkpoint.find("extra"), nullptr);
}

TEST_F(CheckpointTest, PrefersTheSingleFile) {
  put_file(dir, "model.safetensors", {"single"});
  put_index(R"({"w":"../w.safetensors"})");
  EXPECT_THAT(names_of(Checkpoint(dir.path())), ElementsAre("single"));
}

TEST_F(CheckpointTest, TakesAnotherNameWhereThereIsOnlyOne) {
  put_file(dir, "weights.safetensors", {"w"});
  EXPECT_THAT(names_of(Checkpoint(dir.path())), ElementsAre("w"));
  put_file(dir, "more.safetensors", {"v"});
  EXPECT_THAT(refusal(),
              HasSubstr("2 .safetensors files (more.safetensors, weights.safetensors, ...) but no"));
}

TEST_F(CheckpointTest, NamesTheMissingTensorTheFileAndTheRemedy) {
  put_file(dir, "model.safetensors", {"a"});
  const Checkpoint checkpoint(dir.path());
  EXPECT_THAT(error_of([&] { checkpoint.need("lm_head.weight"); }),
              testing::AllOf(HasSubstr("(tensor lm_head.weight) in " + (dir / "model.safetensors")),
                             HasSubstr("is the download complete?")));
}

TEST_F(CheckpointTest, SaysWhatElseIsThere) {
  EXPECT_THAT(refusal(), HasSubstr("no .safetensors file here; give the directory of a downloaded model"));
  dir.write("pytorch_model.bin", "x");
  EXPECT_THAT(refusal(ErrorCode::unsupported), HasSubstr("pickled .bin weights"));
  dir.write("model-Q4_K_M.gguf", "GGUF");
  EXPECT_THAT(refusal(ErrorCode::bad_call), HasSubstr("only a .gguf file"));
  put_file(dir, "adapter_model.safetensors", {"w"});
  EXPECT_THAT(refusal(ErrorCode::unsupported), HasSubstr("merge it into its base model"));
}

TEST_F(CheckpointTest, WantsTheDirectory) {
  put_file(dir, "model.safetensors", {"a"});
  dir.write("m.gguf", "GGUF");
  const auto open = [](std::string path) { return [path] { Checkpoint checkpoint(path); }; };
  EXPECT_THAT(error_of(open(dir / "model.safetensors"), ErrorCode::bad_call),
              HasSubstr("give the directory"));
  EXPECT_THAT(error_of(open(dir / "m.gguf")), HasSubstr("ends within the version"));
  EXPECT_THAT(error_of(open(dir / "none"), ErrorCode::bad_call), HasSubstr("no such directory"));
  EXPECT_THAT(error_of(open(""), ErrorCode::bad_call), HasSubstr("no such directory"));
}

TEST_F(CheckpointTest, WantsAConfig) {
  put_file(dir, "model.safetensors", {"a"});
  for (const char* bad : {"[1]", "{", "{}{}", R"({"a":1,"a":2})"}) {
    dir.write("config.json", bad);
    EXPECT_THAT(refusal(), HasSubstr("config.json"));
  }
  dir.write("config.json", std::string_view("{}\0x", 4));
  EXPECT_THAT(refusal(), HasSubstr("zero byte"));
  std::filesystem::remove(dir / "config.json");
  EXPECT_THAT(refusal(), HasSubstr("no config.json beside the weights"));
}

TEST_F(CheckpointTest, AnIndexDoesNotLeadOutOfTheDirectory) {
  put_file(dir, "model-00001-of-00001.safetensors", {"w"});
  for (const char* name : {"../w.safetensors", "/etc/w.safetensors", "sub/w.safetensors",
                           "..\\\\w.safetensors", "", "w\\u0000.safetensors"}) {
    put_index("{\"w\":\"" + std::string(name) + "\"}");
    EXPECT_THAT(refusal(), HasSubstr("expected a plain name in the same directory")) << name;
  }
  for (const char* name : {"..", "config.json", "pytorch_model.bin"}) {
    put_index("{\"w\":\"" + std::string(name) + "\"}");
    EXPECT_THAT(refusal(), HasSubstr("ends with .safetensors")) << name;
  }
}

TEST_F(CheckpointTest, AnIndexThatDoesNotFitItsFilesIsRefused) {
  put_file(dir, "model-00001-of-00001.safetensors", {"w"});
  put_index(R"({"v":"model-00001-of-00001.safetensors"})");
  EXPECT_THAT(refusal(), HasSubstr("it is not; download the model again (tensor v)"));
  put_index(R"({"w":"model-00009-of-00009.safetensors"})");
  EXPECT_THAT(refusal(ErrorCode::io), HasSubstr("the download is not complete"));
  put_index(R"({"w":1})");
  EXPECT_THAT(refusal(), HasSubstr("is not a string (tensor w)"));
  put_index(R"({"w":"model-00001-of-00001.safetensors","w":"model-00001-of-00001.safetensors"})");
  EXPECT_THAT(refusal(), HasSubstr("stands twice"));
  put_index("[]");
  EXPECT_THAT(refusal(), HasSubstr("no weight_map object"));
  dir.write("model.safetensors.index.json", "{}");
  EXPECT_THAT(refusal(), HasSubstr("no weight_map object"));
}

TEST_F(CheckpointTest, ADamagedShardIsNamed) {
  dir.write("model.safetensors", "not a safetensors file at all");
  EXPECT_THAT(refusal(),
              testing::AllOf(HasSubstr("this is not a safetensors file"), HasSubstr("model.safetensors")));
}

}  // namespace
}  // namespace codecllm
