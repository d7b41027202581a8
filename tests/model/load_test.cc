// SPDX-License-Identifier: Apache-2.0
// Damaged checkpoints: every error names the file, and the tensor where there is one.
#include <gmock/gmock.h>

#include <functional>

#include "base/file.h"
#include "io/safetensors_writer.h"
#include "model/model_test.h"
#include "model/weights.h"

namespace codecllm {
namespace {

using ::testing::HasSubstr;

constexpr const char* kTensor = "model.layers.1.mlp.up_proj.weight";  // [80, 32]

class Load : public ::testing::Test {
 protected:
  Load() {
    for (const char* name : {"config.json", "model.safetensors"})
      std::filesystem::copy_file(source_ + "/" + name, directory_.path() + "/" + name);
  }

  // Writes the weights again; the function changes a tensor, or drops it by returning false.
  void change(const std::function<bool(TensorDecl&)>& edit) {
    const SafetensorsFile file(source_ + "/model.safetensors");
    std::vector<TensorData> tensors;
    for (const TensorInfo& info : file.tensors()) {
      TensorData tensor = {{info.name, info.dtype, info.shape}, info.data};
      if (edit(tensor.decl)) tensors.push_back(tensor);
    }
    write_safetensors(weights_, tensors);
  }

  void set_config(const char* key, const Json& value) {
    Json config = read_json_file(config_);
    config[key] = value;
    write_file_atomically(config_, dump_json(config));
  }

  DecoderModel load(const Progress& progress = {}) {
    return load_model(context_, directory_.path(), progress);
  }

  std::string error(ErrorCode code, const Progress& progress = {}) {
    return error_of(code, [&] { load(progress); });
  }

  const std::string source_ = model_directory("llama");
  TempDirectory directory_;
  const std::string weights_ = directory_.path() + "/model.safetensors",
                    config_ = directory_.path() + "/config.json";
  Context context_{{.threads = 2, .isa = {}}};
};

TEST_F(Load, TheUnchangedCopyLoads) {
  change([](TensorDecl&) { return true; });
  const DecoderModel model = load();
  EXPECT_EQ(model.scheme, "f32");
  EXPECT_EQ(model.weights.blocks.size(), 2u);
  // Rows are stored in panels of sixteen: 96, 80, 32 and 16 are whole panels.
  EXPECT_EQ(static_cast<double>(model.weights.bytes()), 4 * model.spec.parameters());
  EXPECT_EQ(model.read_bytes_per_token(), model.weights.bytes() - 95 * 32 * 4);
}

TEST_F(Load, ASchemeThatIsNoText) {
  set_config("quantization_config", {{"quant_method", "codecllm"}, {"version", 1}, {"format", "coded"}, {"scheme", 7}});
  EXPECT_THAT(error(ErrorCode::bad_input), HasSubstr("scheme"));
}

TEST_F(Load, MissingTensor) {
  for (const char* name : {kTensor, "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight",
                           "model.layers.0.input_layernorm.weight"}) {
    change([&](TensorDecl& tensor) { return tensor.name != name; });
    const std::string text = error(ErrorCode::bad_input);
    EXPECT_THAT(text, HasSubstr(name));
    EXPECT_THAT(text, HasSubstr(weights_));
  }
}

TEST_F(Load, WrongShape) {
  const std::vector<std::vector<int64_t>> shapes = {{32, 80}, {2560}, {80, 32, 1}, {1, 80, 32}, {160, 16}};
  for (const auto& shape : shapes) {
    change([&](TensorDecl& tensor) {
      if (tensor.name == kTensor) tensor.shape = shape;
      return true;
    });
    const std::string text = error(ErrorCode::bad_input);
    for (const std::string part : {kTensor, weights_.c_str(), "[80, 32]"}) EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST_F(Load, WrongType) {
  for (const char* name : {kTensor, "model.norm.weight"}) {
    change([&](TensorDecl& tensor) {
      if (tensor.name == name) tensor.dtype = DType::i32;
      return true;
    });
    const std::string text = error(ErrorCode::unsupported);
    for (const std::string part : {name, weights_.c_str(), "I32"}) EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST_F(Load, TruncatedFile) {
  const auto size = std::filesystem::file_size(weights_);
  for (uintmax_t left : {uintmax_t{0}, uintmax_t{7}, uintmax_t{8}, uintmax_t{500}, size / 2, size - 1}) {
    std::filesystem::resize_file(weights_, left);
    EXPECT_THAT(error(ErrorCode::bad_input), HasSubstr(weights_)) << left;
    std::filesystem::copy_file(source_ + "/model.safetensors", weights_,
                               std::filesystem::copy_options::overwrite_existing);
  }
}

TEST_F(Load, ConfigOfAnotherModel) {
  const struct {
    const char* key;
    int64_t value;
    const char* tensor;
  } kCases[] = {{"vocab_size", 97, "model.embed_tokens.weight"},
                {"hidden_size", 64, "model.embed_tokens.weight"},
                {"intermediate_size", 96, "model.layers.0.mlp.gate_proj.weight"},
                {"num_hidden_layers", 3, "model.layers.2.input_layernorm.weight"},
                {"num_key_value_heads", 4, "model.layers.0.self_attn.k_proj.weight"},
                {"head_dim", 16, "model.layers.0.self_attn.q_proj.weight"}};
  for (const auto& [key, value, tensor] : kCases) {
    const Json before = read_json_file(config_);
    set_config(key, value);
    const std::string text = error(ErrorCode::bad_input);
    EXPECT_THAT(text, HasSubstr(tensor)) << key;
    EXPECT_THAT(text, HasSubstr(weights_)) << key;
    write_file_atomically(config_, dump_json(before));
  }
  set_config("attention_bias", true);
  EXPECT_THAT(error(ErrorCode::bad_input), HasSubstr("model.layers.0.self_attn.q_proj.bias"));
}

TEST_F(Load, ConfigThatIsNotJson) {
  for (const char* text :
       {"", "{", "{\"hidden_size\": 32,}", "hello", "[1]", "{\"a\": 1, \"a\": 2}", "{} {}"}) {
    write_file_atomically(config_, text);
    EXPECT_THAT(error(ErrorCode::bad_input), HasSubstr(config_)) << text;
  }
  std::filesystem::remove(config_);
  EXPECT_THAT(error(ErrorCode::bad_input), HasSubstr("config.json"));
}

TEST_F(Load, GenerationConfigAddsItsEndOfText) {
  write_file_atomically(directory_.path() + "/generation_config.json", R"({"eos_token_id": [5, 6]})");
  EXPECT_EQ(load().spec.eos, (std::vector<int32_t>{2, 5, 6}));
  write_file_atomically(directory_.path() + "/generation_config.json", R"({"eos_token_id": "end"})");
  EXPECT_THAT(error(ErrorCode::bad_input), HasSubstr("eos_token_id"));
}

TEST_F(Load, IsCancelledAtAnyCall) {
  int calls = 0;
  double last = -1;
  load([&](double done, std::string_view what) {
    EXPECT_GE(done, last);
    EXPECT_LE(done, 1);
    EXPECT_FALSE(what.empty());
    last = done;
    return ++calls > 0;
  });
  EXPECT_EQ(last, 1);
  ASSERT_GE(calls, 3);
  for (int stop = 1; stop <= calls; ++stop) {
    int call = 0;
    const std::string text =
        error(ErrorCode::interrupted, [&](double, std::string_view) { return ++call < stop; });
    EXPECT_THAT(text, HasSubstr(directory_.path()));
    EXPECT_EQ(call, stop) << "called again after it said stop";
  }
}

}  // namespace
}  // namespace codecllm
