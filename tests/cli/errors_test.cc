// SPDX-License-Identifier: Apache-2.0
// What is refused: with which exit code, and in which words.
#include <gtest/gtest.h>

#include <limits>

#include "cli/run.h"

namespace codecllm {
namespace {

using test::expect_refusal;
using test::run;
using test::TempDirectory;
using test::tiny_model;

TEST(CliErrors, HelpAndVersionAreNoErrors) {
  for (const char* flag : {"--help", "--version", "--help-all"}) {
    const auto r = run({flag});
    EXPECT_EQ(r.code, 0) << flag;
    EXPECT_FALSE(r.out.empty());
    EXPECT_EQ(r.err, "");
  }
  EXPECT_EQ(run({"quantize", "--help"}).code, 0);
}

TEST(CliErrors, OutputThatCannotBeWrittenIsAnError) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  for (const char* call : {"--help", "--version", "inspect"}) {
    const std::string line = test::binary_path("codecllm") + " " + call + (call[0] == '-' ? "" : " " + test::model_data("llama")) + " > /dev/full 2> /dev/null";
    const int status = std::system(line.c_str());
    EXPECT_EQ(WEXITSTATUS(status), 1) << call;
  }
}

TEST(CliErrors, WrongCallsExitWithTwo) {
  const std::string model = test::model_data("llama");
  for (const std::vector<std::string>& call : std::vector<std::vector<std::string>>{
           {},
           {"nonsense"},
           {"inspect"},
           {"inspect", model, "--nonsense"},
           {"inspect", model, "another"},
           {"--json"},
           {"generate", model},
           {"generate", model, "-p"},
           {"generate", model, "-p", "x", "-n", "0"},
           {"generate", model, "-p", "x", "-n", "many"},
           {"generate", model, "-p", "x", "--kv", "f64"},
           {"quantize", model, "--scheme", "int8"},
           {"quantize", model, "-o", "/nowhere/x"},
           {"quantize", model, "-o", "/nowhere/x", "--scheme", "int8", "--scale-rule", "other"},
           {"quantize", model, "-o", "/nowhere/x", "--scheme", "int8", "--ignore", "re:["},
           {"quantize", model, "-o", "", "--scheme", "int8"},
           {"bench", model, "--batch", "0"},
           {"bench", model, "--batch", "-1"},
           {"inspect", "/no/such/model"},
           {"inspect", model, "--threads", "-1"},
           {"inspect", model, "--threads", "99999"},
           {"perplexity", model},
           {"perplexity", model, "--text", "/no/such/text"},
           {"perplexity", model, "--text", "/tmp"},
           {"evaluate", model, "--tasks", "/no/such/tasks"},
           {"compress", "/no/such/file", "-o", "/nowhere/x"},
           {"quantize", model, "-o", "/nowhere/x", "--recipe", "/no/such/recipe"},
           {"quantize", model, "-o", "/nowhere/x", "--scheme", "int8", "--calibrate", "/no/such/text"},
           {"evaluate", model},
           {"perplexity", model, "--text", "x", "--context", "1"}}) {
    std::string text;
    for (const std::string& word : call) text += word + " ";
    const auto r = run(call);
    EXPECT_EQ(r.code, 2) << text;
    EXPECT_EQ(r.out, "") << text;
    EXPECT_FALSE(r.err.empty()) << text;
  }
}

TEST(CliErrors, CommandsOfLaterVersionsAreRefusedByName) {
  for (const char* name :
       {"serve", "pull", "compare", "outliers"}) {
    expect_refusal(run({name}), 2, {name, "not in this version"});
    expect_refusal(run({name, "something", "--port", "80", "--json"}), 2, {name});
  }
}

TEST(CliErrors, DevicesAndTiersAreCheckedByName) {
  const std::string model = test::model_data("llama");
  expect_refusal(run({"inspect", model, "-q", "--device", "cuda"}), 2, {"CUDA", "--device cpu"});
  expect_refusal(run({"inspect", model, "-q", "--device", "tpu"}), 2, {"tpu", "cpu, cuda"});
  expect_refusal(run({"inspect", model, "-q", "--isa", "sse9"}), 2, {"sse9", "reference"});
  EXPECT_EQ(run({"inspect", model, "-q", "--isa", "reference", "--device", "cpu", "--threads", "1"}).code, 0);
}

TEST(CliErrors, FamiliesThatAreNotHereAreRefusedByName) {
  const TempDirectory temp;
  const std::string model =
      tiny_model("llama", temp / "gpt2", {{"architectures", {"GPT2LMHeadModel"}}, {"model_type", "gpt2"}});
  temp.write("text", "to be or not to be");
  for (const std::vector<std::string>& call :
       std::vector<std::vector<std::string>>{{"inspect", model},
                                             {"generate", model, "-p", "to be"},
                                             {"perplexity", model, "--text", temp / "text"},
                                             {"quantize", model, "-o", temp / "out", "--scheme", "int8"},
                                             {"bench", model, "--rounds", "1"}}) {
    std::vector<std::string> quiet = call;
    quiet.push_back("-q");
    expect_refusal(run(quiet), 2, {"GPT2LMHeadModel", "LlamaForCausalLM", "config.json"});
  }
  EXPECT_FALSE(test::exists(temp / "out") || test::exists(temp / "out.partial"));
}

TEST(CliErrors, DamagedModelsExitWithOneAndNameTheFile) {
  const TempDirectory temp;
  const auto inspect = [&](const std::string& model) { return run({"inspect", model, "-q"}); };
  expect_refusal(inspect(temp / "nothing"), 2, {temp / "nothing"});
  std::filesystem::create_directory(temp / "empty");
  expect_refusal(inspect(temp / "empty"), 1, {temp / "empty"});
  const std::string cut = tiny_model("llama", temp / "cut");
  std::filesystem::resize_file(cut + "/model.safetensors", 100000);
  expect_refusal(inspect(cut), 1, {cut + "/model.safetensors"});
  expect_refusal(run({"quantize", cut, "-q", "-o", temp / "out", "--scheme", "int8"}), 1,
                 {cut + "/model.safetensors"});
  const std::string config = tiny_model("llama", temp / "config");
  temp.write("config/config.json", "{\"architectures\": [\"LlamaForCausalLM\"]");
  expect_refusal(inspect(config), 1, {config + "/config.json"});
  std::filesystem::remove(config + "/config.json");
  expect_refusal(inspect(config), 1, {"config.json", config});
  const std::string tokenizer = tiny_model("llama", temp / "tokenizer");
  temp.write("tokenizer/tokenizer.json", "{}");
  expect_refusal(run({"generate", tokenizer, "-q", "-p", "x"}), 1, {tokenizer + "/tokenizer.json"});
  std::filesystem::remove(tokenizer + "/tokenizer.json");
  expect_refusal(run({"generate", tokenizer, "-q", "-p", "x"}), 1, {tokenizer + "/tokenizer.json"});
  expect_refusal(run({"verify", cut, "-q"}), 1, {cut});
  expect_refusal(run({"bench", cut, "-q", "--rounds", "1"}), 1, {cut});
}

TEST(CliErrors, PromptsThatDoNotFitAreRefused) {
  const TempDirectory temp;
  const std::string model = tiny_model("llama", temp / "m");
  expect_refusal(run({"generate", model, "-q", "-p", std::string(100, 'x')}), 2, {"100", "64"});
  expect_refusal(run({"generate", model, "-q", "-p", std::string(64, 'x')}), 2, {"64"});
  expect_refusal(run({"generate", model, "-q", "-p", ""}), 2, {"empty"});
  EXPECT_EQ(run({"generate", model, "-q", "-p", std::string(63, 'x'), "-n", "5"}).code, 0);
  for (const auto& [option, value] : {std::pair{"--temperature", "-1"},
                                      {"--temperature", "inf"},
                                      {"--repetition-penalty", "inf"},
                                      {"--top-p", "0"},
                                      {"--min-p", "1"},
                                      {"--repetition-penalty", "0"},
                                      {"--top-k", "-2"}})
    expect_refusal(run({"generate", model, "-q", "-p", "x", option, value}), 2, {});
}

// CLI11 would take them as 2^64 less so much.
TEST(CliErrors, NegativeSizesAndSeedsAreRefused) {
  const TempDirectory temp;
  const std::string model = tiny_model("llama", temp / "m");
  for (const auto& [option, value] : {std::pair{"--decode-cache", "-5"},
                                      {"--decode-cache", "-5MB"},
                                      {"--decode-cache", "99999999999999999999"},
                                      {"--seed", "-1"},
                                      {"--seed", "99999999999999999999"}})
    expect_refusal(run({"generate", model, "-q", "-p", "x", "-n", "1", option, value}), 2, {option, value, "from 0 to"});
  expect_refusal(run({"quantize", model, "-q", "-o", temp / "out", "--target-size", "-1"}), 2, {"--target-size", "'-1'"});
  EXPECT_EQ(run({"generate", model, "-q", "-p", "x", "-n", "1", "--decode-cache", "5 MB", "--seed", "18446744073709551615"}).code, 0);
}

// What would have no effect beside another option is refused, and named.
TEST(CliErrors, OptionsOfBenchThatExcludeEachOther) {
  const std::string model = test::model_data("llama");
  const std::vector<std::string> gemm = {"--op", "gemm", "--size", "1,64,64", "--scheme", "int8"};
  for (const std::vector<std::string>& rest : std::vector<std::vector<std::string>>{{"--profile"},
                                                                                    {"--requests", "2"},
                                                                                    {"--baseline", "unpack"},
                                                                                    {"--context", "5"},
                                                                                    {"--prompts", "2x5"},
                                                                                    {"--kv", "fp8"},
                                                                                    {"--batch", "2"},
                                                                                    {"--prompt-tokens", "2"},
                                                                                    {"--decode-tokens", "2"},
                                                                                    {"--decode-cache", "1MB"},
                                                                                    {"--shape", "tinyllama-1.1b"},
                                                                                    {"--layout", "masked"}}) {
    std::vector<std::string> call = gemm;
    call.insert(call.begin(), "bench");
    call.insert(call.end(), rest.begin(), rest.end());
    expect_refusal(run(call), 2, {rest[0]});
  }
  expect_refusal(run({"bench", model, "--op", "gemm", "--size", "1,64,64", "--scheme", "int8"}), 2, {"--op"});
  for (const std::vector<std::string>& pair : std::vector<std::vector<std::string>>{{"--requests", "2", "--profile"},
                                                                                    {"--requests", "2", "--baseline", "unpack"},
                                                                                    {"--requests", "2", "--rounds", "3"},
                                                                                    {"--requests", "2", "--context", "9"},
                                                                                    {"--requests", "2", "--prompts", "2x9"},
                                                                                    {"--profile", "--baseline", "unpack"},
                                                                                    {"--profile", "--context", "9"},
                                                                                    {"--profile", "--batch", "9"},
                                                                                    {"--baseline", "unpack", "--kv", "fp8"},
                                                                                    {"--layout", "masked"},
                                                                                    {"--experts", "4"},
                                                                                    {"--outliers", "4"},
                                                                                    {"--size", "1,2,3"},
                                                                                    {"--sweep", "tiles"}}) {
    std::vector<std::string> call = {"bench", model};
    call.insert(call.end(), pair.begin(), pair.end());
    expect_refusal(run(call), 2, {pair[0]});
  }
  for (const std::vector<std::string>& pair : std::vector<std::vector<std::string>>{
           {"--experts", "2", "--sweep", "tiles"}, {"--experts", "2", "--outliers", "1"}, {"--sweep", "tiles", "--outliers", "1"}}) {
    std::vector<std::string> call = gemm;
    call.insert(call.begin(), "bench");
    call.insert(call.end(), pair.begin(), pair.end());
    expect_refusal(run(call), 2, {pair[0], pair[2]});
  }
}

TEST(CliErrors, TextsThatCannotBeScored) {
  const TempDirectory temp;
  const std::string model = tiny_model("llama", temp / "m");
  temp.write("empty", "");
  temp.write("text", "the hen and the man");
  expect_refusal(run({"perplexity", model, "-q", "--text", temp / "none"}), 2, {temp / "none"});
  expect_refusal(run({"perplexity", model, "-q", "--text", temp / "empty"}), 2, {"two tokens"});
  expect_refusal(run({"perplexity", model, "-q", "--text", temp / "text", "--context", "4", "--stride", "5"}),
                 2, {"stride"});
}

TEST(CliErrors, AReferenceThatIsQuantizedIsRefused) {
  const TempDirectory temp;
  const std::string model = tiny_model("llama", temp / "m");
  ASSERT_EQ(run({"quantize", model, "-q", "-o", temp / "q", "--scheme", "int8"}).code, 0);
  expect_refusal(run({"verify", temp / "q", "-q", "--reference", temp / "q"}), 2, {"quantized itself", temp / "q"});
  EXPECT_EQ(run({"verify", temp / "q", "-q", "--reference", model}).code, 0);
  const auto converted = run({"convert", temp / "q", "-o", temp / "no/such/folder/q", "--to", "gptq", "--type", "q8_0"});
  EXPECT_EQ(converted.code, 0) << converted.err;
  EXPECT_NE(converted.err.find("--type has no effect"), std::string::npos);
}

TEST(CliErrors, FailedQuantizationsLeaveNothing) {
  const TempDirectory temp;
  const std::string model = tiny_model("llama", temp / "m"), name = "model.layers.0.mlp.up_proj.weight";
  expect_refusal(run({"quantize", model, "-q", "-o", temp / "out", "--scheme", "int9"}), 2,
                 {"int9", "int4-g128"});
  expect_refusal(
      run({"quantize", model, "-q", "-o", temp / "out", "--scheme", "int8", "--only", "*.nothing"}), 2,
      {"*.nothing"});
  expect_refusal(run({"quantize", model, "-q", "-o", model, "--scheme", "int8"}), 2, {model});
  test::Tensors tensors = test::read_tensors(model);
  test::set_value(tensors.at(name), 40, std::numeric_limits<float>::quiet_NaN());
  test::write_tensors(model + "/model.safetensors", tensors);
  expect_refusal(run({"quantize", model, "-q", "-o", temp / "out", "--scheme", "int8"}), 1,
                 {name, "row 1", "column 8"});
  EXPECT_FALSE(test::exists(temp / "out") || test::exists(temp / "out.partial"));
}

TEST(CliErrors, PerplexityOfOrBesideADamagedModelFails) {
  const TempDirectory temp;
  const std::string good = tiny_model("llama", temp / "good"), bad = tiny_model("llama", temp / "bad");
  test::Tensors tensors = test::read_tensors(bad);
  test::set_value(tensors.at("model.norm.weight"), 4, std::numeric_limits<float>::quiet_NaN());
  test::write_tensors(bad + "/model.safetensors", tensors);
  temp.write("text", "the hen and the fox went down to the river");
  for (const std::vector<std::string>& call : std::vector<std::vector<std::string>>{
           {"perplexity", bad, "-q", "--text", temp / "text"}, {"perplexity", good, "-q", "--text", temp / "text", "--reference", bad}}) {
    const test::Outcome outcome = run(call);
    EXPECT_EQ(outcome.code, 1);
    for (const std::string& part : {std::string("not finite"), bad}) EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
  }
}

TEST(CliErrors, RecipesAndSchemesThatDoNotFit) {
  const TempDirectory temp;
  const std::string model = tiny_model("llama", temp / "m"), out = temp / "out", file = temp / "recipe.json";
  temp.write("recipe.json", R"({"version": 1, "steps": [{"scheme": "int8", "target": ["mlp"]}]})");
  expect_refusal(run({"quantize", model, "-q", "-o", out}), 2, {"--scheme", "--recipe"});
  expect_refusal(run({"quantize", model, "-q", "--scheme", "int8"}), 2, {"-o"});
  expect_refusal(run({"quantize", model, "-q", "-o", out, "--recipe", file}), 2, {"step 1", "'target'", file});
  expect_refusal(run({"quantize", model, "-q", "-o", out, "--recipe", file, "--scheme", "int8"}), 2, {"leave --scheme out"});
  expect_refusal(run({"quantize", model, "-q", "-o", out, "--recipe", file, "--only", "mlp"}), 2, {"--only", "targets", file});
  expect_refusal(run({"quantize", model, "-q", "-o", out, "--recipe", file, "--algorithm", "rtn"}), 2, {"--algorithm", "steps of the recipe"});
  expect_refusal(run({"quantize", model, "-q", "-o", out, "--recipe", file, "--clip"}), 2, {"--clip", R"("parameters": {"clip": true})"});
  expect_refusal(run({"quantize", model, "-q", "-o", out, "--recipe", file, "--alpha", "0.5"}), 2, {"--alpha", R"("parameters": {"alpha": X})"});
  expect_refusal(run({"quantize", model, "-q", "-o", out, "--scheme", "w8a8-static"}), 2, {"--calibrate"});
  expect_refusal(run({"quantize", model, "-q", "-o", out, "--scheme", "int8", "--algorithm", "magic"}), 2, {"magic", "smoothquant"});
  expect_refusal(run({"quantize", model, "-q", "-o", out, "--scheme", "int4-g128", "--strict"}), 2, {"groups of 128", "--recipe"});
  expect_refusal(run({"quantize", model, "-q", "-o", out, "--scheme", "int8", "--only", "*.q_proj", "--strict"}), 2, {"k_proj (not quantized)"});
  EXPECT_FALSE(test::exists(out) || test::exists(temp / "out.partial"));
}

// Options that change nothing are told, each in a sentence; those that do are not.
TEST(CliErrors, OptionsWithoutEffect) {
  const TempDirectory temp;
  const std::string model = tiny_model("llama", temp / "m");
  temp.write("text", std::string(2000, 'x'));
  temp.write("recipe.json", R"({"version": 1, "steps": [{"targets": ["mlp"], "scheme": "int8"}]})");
  const auto notes = [&](std::vector<std::string> options) {
    options.insert(options.begin(), {"quantize", model, "--dry-run", "--json"});
    const auto r = run(options);
    EXPECT_EQ(r.code, 0) << r.err;
    std::string idle;
    const OrderedJson plan = OrderedJson::parse(r.out, nullptr, false);
    for (const auto& sentence : plan.at("notes")) {
      const auto text = sentence.get<std::string>();
      EXPECT_NE(r.err.find(text), std::string::npos) << text;
      if (text.find("has no effect") != std::string::npos) idle += text + "\n";
    }
    return idle;
  };
  const std::string text = temp / "text", calibrated = "nothing here is calibrated, so ";
  EXPECT_EQ(notes({"--scheme", "int8"}), "");
  EXPECT_EQ(notes({"--scheme", "int8", "--calibrate", text}), calibrated + "--calibrate has no effect\n");
  EXPECT_EQ(notes({"--scheme", "w8a8", "--calibrate", text, "--samples", "3", "--sample-tokens", "20"}),
            calibrated + "--calibrate has no effect\n" + calibrated + "--samples has no effect\n" + calibrated + "--sample-tokens has no effect\n");
  EXPECT_EQ(notes({"--recipe", temp / "recipe.json", "--samples", "3"}), calibrated + "--samples has no effect\n");
  EXPECT_EQ(notes({"--scheme", "llm-int8", "--samples", "3"}), calibrated + "--samples has no effect\n");
  EXPECT_EQ(notes({"--scheme", "llm-int8", "--calibrate", text, "--samples", "3"}), "");
  EXPECT_EQ(notes({"--scheme", "int8", "--algorithm", "gptq", "--calibrate", text, "--samples", "3"}), "");
  EXPECT_EQ(notes({"--scheme", "int8", "--algorithm", "gptq", "--calibrate", text, "--observer", "mse"}), "no activations here have static scales, so --observer has no effect\n");
  EXPECT_EQ(notes({"--scheme", "w8a8-static", "--calibrate", text, "--observer", "percentile", "--percentile", "0.99"}), "");
  EXPECT_EQ(notes({"--scheme", "w8a8-static", "--calibrate", text, "--percentile", "0.99"}), "the observer is not percentile, so --percentile has no effect\n");
  EXPECT_EQ(notes({"--scheme", "int8", "--alpha", "0.7"}), "nothing here is smoothed by SmoothQuant, so --alpha has no effect\n");
  EXPECT_EQ(notes({"--scheme", "int8", "--algorithm", "smoothquant", "--calibrate", text, "--alpha", "0.7"}), "");
}

// Output that cannot be written is no success.
TEST(CliErrors, AFullStandardOutputIsTold) {
  const TempDirectory temp;
  for (const char* extra : {"", " --json"}) {
    const std::string call = test::binary_path("codecllm") + " inspect " + test::model_data("llama") + " -q" + extra + " >/dev/full 2>" + (temp / "err");
    EXPECT_EQ(WEXITSTATUS(std::system(call.c_str())), 1);
    EXPECT_NE(read_file(temp / "err").find("No space left"), std::string::npos);
  }
}

}  // namespace
}  // namespace codecllm
