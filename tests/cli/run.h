// SPDX-License-Identifier: Apache-2.0
// Running the program as a user does, and models for it.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "base/rng.h"
#include "gen/tiny_tokenizer.h"
#include "paths.h"
#include "quant/support.h"

extern char** environ;

namespace codecllm::test {

struct Outcome {
  int code = -1;   // exit code, or -1
  int signal = 0;  // what ended it, or 0
  std::string out, err;
};

// A running program. Its output goes to files, so that it never waits for us.
class Child {
 public:
  explicit Child(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), binary_path("codecllm"));
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, (temp_ / "out").c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
    posix_spawn_file_actions_addopen(&files, 2, (temp_ / "err").c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
    const int failed = posix_spawn(&pid_, argv[0], &files, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&files);
    if (failed != 0) throw std::runtime_error("cannot start " + arguments[0]);
  }
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void send(int signal) const { ::kill(pid_, signal); }
  std::string out() const { return exists(temp_ / "out") ? read_file(temp_ / "out") : ""; }
  std::string err() const { return exists(temp_ / "err") ? read_file(temp_ / "err") : ""; }

  // Waits until `seen` or the end of the program, whichever comes first.
  template <class Seen>
  void wait_until(const Seen& seen) const {
    siginfo_t info = {};
    while (!seen() && waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }

  Outcome wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0, out(),
            err()};
  }

 private:
  TempDirectory temp_;
  pid_t pid_ = -1;
};

inline Outcome run(std::vector<std::string> arguments) { return Child(std::move(arguments)).wait(); }

// One sentence on stderr from the program, and nothing on stdout.
inline void expect_refusal(const Outcome& outcome, int code, const std::vector<std::string>& parts = {}) {
  EXPECT_EQ(outcome.code, code) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(outcome.err.starts_with("codecllm: ")) << outcome.err;
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  for (const std::string& part : parts)
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err << "lacks " << part;
}

// One of tests/model/data's models with a tokenizer, and its config changed by a patch.
inline std::string tiny_model(const std::string& name, const std::string& directory,
                              const Json& patch = Json::object()) {
  copied_model(name, directory);
  Json config = read_json_file(directory + "/config.json");
  config.merge_patch(patch);
  write_file_atomically(directory + "/config.json", json_text(config));
  write_file_atomically(directory + "/tokenizer.json", tiny_tokenizer_json());
  return directory;
}

// A Llama of about 34 MB with made-up weights.
inline std::string made_up_model(const std::string& directory) {
  std::filesystem::create_directories(directory);
  constexpr int64_t kHidden = 512, kInner = 1408, kVocab = 4096, kLayers = 4;
  Json config = {{"architectures", {"LlamaForCausalLM"}},
                 {"hidden_size", kHidden},
                 {"intermediate_size", kInner},
                 {"num_hidden_layers", kLayers},
                 {"num_attention_heads", 8},
                 {"num_key_value_heads", 8},
                 {"vocab_size", kVocab},
                 {"max_position_embeddings", 256}};
  write_file_atomically(directory + "/config.json", json_text(config, 1));
  write_file_atomically(directory + "/tokenizer.json", tiny_tokenizer_json());
  Rng rng(1);
  Tensors tensors;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    Tensor& tensor = tensors[name] = {{name, DType::bf16, shape}, {}};
    tensor.data.resize(static_cast<size_t>(shape[0] * (shape.size() > 1 ? shape[1] : 1)) * 2);
    for (size_t i = 0; i < tensor.data.size() / 2; ++i)
      set_value(tensor, i, static_cast<float>(static_cast<int16_t>(rng.next())) * 0x1p-19f);
  };
  add("model.embed_tokens.weight", {kVocab, kHidden});
  add("lm_head.weight", {kVocab, kHidden});
  add("model.norm.weight", {kHidden});
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string p = "model.layers." + std::to_string(layer) + ".";
    for (const char* name : {"q", "k", "v", "o"})
      add(p + "self_attn." + name + "_proj.weight", {kHidden, kHidden});
    for (const char* name : {"up", "gate"}) add(p + "mlp." + name + "_proj.weight", {kInner, kHidden});
    add(p + "mlp.down_proj.weight", {kHidden, kInner});
    for (const char* name : {"input", "post_attention"}) add(p + name + "_layernorm.weight", {kHidden});
  }
  write_tensors(directory + "/model.safetensors", tensors);
  return directory;
}

}  // namespace codecllm::test
