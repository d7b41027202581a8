// SPDX-License-Identifier: Apache-2.0
// --json: one object on stdout with what the contract promises, and exit codes that tell good from bad.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cli/run.h"

namespace codecllm {
namespace {

using test::Outcome;
using test::run;
using test::TempDirectory;
using test::tiny_model;

// The object; its first keys are checked, and that it has these.
OrderedJson object_of(const Outcome& outcome, const std::string& schema, const std::vector<std::string>& keys,
                      int code = 0) {
  EXPECT_EQ(outcome.code, code) << outcome.err;
  EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 1) << outcome.out;
  const OrderedJson json = OrderedJson::parse(outcome.out, nullptr, false);
  if (!json.is_object() || json.size() < 2) {
    ADD_FAILURE() << "no object: " << outcome.out << outcome.err;
    return OrderedJson::object();
  }
  EXPECT_EQ(json.begin().key(), "schema");
  EXPECT_EQ(std::next(json.begin()).key(), "version");
  EXPECT_EQ(json.at("schema"), "codecllm." + schema);
  EXPECT_TRUE(json.at("version").is_number_integer());
  for (const std::string& key : keys) EXPECT_TRUE(json.contains(key)) << schema << " lacks " << key;
  return json;
}

class CliJson : public ::testing::Test {
 protected:
  const TempDirectory temp_;
  const std::string model_ = tiny_model("llama-bf16", temp_ / "m");
};

TEST_F(CliJson, Inspect) {
  const std::vector<std::string> keys = {"linear_layers", "kinds",           "parameters",
                                         "weight_bytes",  "bits_per_weight", "problems"};
  const OrderedJson json = object_of(run({"inspect", model_, "--json"}), "inspect", keys);
  EXPECT_EQ(json.at("linear_layers"), 15);
  EXPECT_EQ(json.at("kinds").at("attention"), 8);
  EXPECT_EQ(json.at("bits_per_weight"), 16);
  EXPECT_TRUE(json.at("problems").empty());
  test::Tensors tensors = test::read_tensors(model_);
  test::set_value(tensors.at("lm_head.weight"), 4, std::numeric_limits<float>::quiet_NaN());
  test::write_tensors(model_ + "/model.safetensors", tensors);
  const OrderedJson bad = object_of(run({"inspect", model_, "--json"}), "inspect", keys, 1);
  EXPECT_EQ(bad.at("problems").at(0).at("severity"), "error");
  EXPECT_NE(bad.at("problems").at(0).at("text").get<std::string>().find("lm_head"), std::string::npos);
}

TEST_F(CliJson, QuantizeAndVerify) {
  const OrderedJson json =
      object_of(run({"quantize", model_, "-o", temp_ / "q", "--scheme", "int8", "--json"}), "quantize",
                {"weight_bytes", "bits_per_weight", "ratio", "seconds", "layers", "verdict"});
  EXPECT_EQ(json.at("verdict"), "good");
  ASSERT_EQ(json.at("layers").size(), 14u);
  for (const char* key : {"name", "scheme", "sqnr_db", "max_abs_error"})
    EXPECT_TRUE(json.at("layers").at(0).contains(key)) << key;
  EXPECT_EQ(json.at("weight_bytes").get<uint64_t>(), Checkpoint(temp_ / "q").total_bytes());

  const std::vector<std::string> keys = {"tensors", "bytes", "bad"};
  const OrderedJson good =
      object_of(run({"verify", temp_ / "q", "--json", "--reference", model_}), "verify", keys);
  EXPECT_TRUE(good.at("bad").empty());
  EXPECT_EQ(good.at("bytes"), json.at("weight_bytes"));
  test::Tensors tensors = test::read_tensors(temp_ / "q");
  EXPECT_EQ(good.at("tensors").get<size_t>(), tensors.size());
  test::set_value(tensors.at("model.norm.weight"), 4, std::numeric_limits<float>::quiet_NaN());
  test::write_tensors(temp_ / "q/model.safetensors", tensors);
  for (const std::vector<std::string>& call : std::vector<std::vector<std::string>>{
           {"verify", temp_ / "q", "--json"}, {"verify", temp_ / "q", "--json", "--reference", model_}}) {
    const OrderedJson bad = object_of(run(call), "verify", keys, 1);
    ASSERT_EQ(bad.at("bad").size(), 1u);
    EXPECT_NE(bad.at("bad").at(0).get<std::string>().find("model.norm.weight"), std::string::npos);
  }
}

TEST_F(CliJson, DryRunsWriteNothing) {
  temp_.write("recipe.json", R"({"version": 1, "steps": [{"targets": ["mlp"], "scheme": "int8", "algorithm": "gptq"}, {"targets": ["attention"], "scheme": "w8a8"}]})");
  temp_.write("text", "the hen");
  const OrderedJson json = object_of(run({"quantize", model_, "--recipe", temp_ / "recipe.json", "--calibrate", temp_ / "text", "--dry-run", "--json"}), "quantize-plan",
                                     {"weight_bytes", "bits_per_weight", "ratio", "read_bytes_per_token", "machine", "decode_tok_s_at_most", "layers", "notes"});
  ASSERT_EQ(json.at("layers").size(), 14u);
  EXPECT_GT(json.at("decode_tok_s_at_most").get<double>(), 0);
  for (const OrderedJson& layer : json.at("layers")) {
    const bool mlp = layer.at("name").get<std::string>().find("mlp") != std::string::npos;
    EXPECT_EQ(layer.at("algorithm"), mlp ? "gptq" : "rtn");
    EXPECT_EQ(layer.at("activations"), mlp ? "16-bit" : "int8 token");
  }
  const Outcome words = run({"quantize", model_, "-o", temp_ / "q", "--scheme", "int4-g128", "--dry-run"});
  EXPECT_EQ(words.code, 0);
  EXPECT_NE(words.out.find("nothing was written"), std::string::npos);
  EXPECT_FALSE(test::exists(temp_ / "q") || test::exists(temp_ / "q.partial"));
}

TEST_F(CliJson, BudgetOfDivergence) {
  if (test::kSanitized) GTEST_SKIP() << "a whole model, several times";
  std::string text;
  for (int i = 0; i < 40; ++i) text += "the man and the hen sat in the sun, again. ";
  temp_.write("text", text);
  const std::vector<std::string> call = {"quantize", model_, "-o", temp_ / "q", "--max-kl", "0.05", "--samples", "4", "--sample-tokens", "32", "--json"};
  std::vector<std::string> whole = call;
  whole.insert(whole.end(), {"--calibrate", temp_ / "text"});
  const OrderedJson json = object_of(run(whole), "quantize", {"kl_mean", "kl_tokens", "trials", "plan", "verdict"});
  EXPECT_LE(json.at("kl_mean").get<double>(), 0.05);
  EXPECT_EQ(json.at("kl_tokens"), 4 * 31);
  EXPECT_EQ(json.at("plan").size(), 15u);
  EXPECT_EQ(read_json_file(temp_ / "q/config.json").at("quantization_config").at("scheme").get<std::string>(), json.at("scheme").get<std::string>());
  test::expect_refusal(run({"quantize", model_, "-o", temp_ / "r", "--max-kl", "0.05", "-q"}), 2, {"--calibrate"});
}

// Every table and row names the precision of the activations.
TEST_F(CliJson, ComputeIsNamed) {
  temp_.write("text", "the hen and the man in the sun");
  for (const auto& [scheme, compute] : {std::pair{"int8", "a16"}, {"w8a8", "a8"}, {"llm-int8", "a8"}, {"fp8", "a8"}, {"fp8-block", "a8"}}) {
    ASSERT_EQ(run({"quantize", model_, "-o", temp_ / scheme, "--scheme", scheme, "-q"}).code, 0) << scheme;
    EXPECT_EQ(object_of(run({"perplexity", temp_ / scheme, "--text", temp_ / "text", "--json"}), "perplexity", {}).at("compute"), compute) << scheme;
    EXPECT_NE(run({"perplexity", temp_ / scheme, "--text", temp_ / "text", "-q"}).out.find(std::string("compute ") + compute), std::string::npos) << scheme;
  }
}

TEST_F(CliJson, Generate) {
  const std::vector<std::string> call = {"generate", model_,          "-p", "the hen",     "-n",
                                         "12",       "--temperature", "0",  "--ignore-eos"};
  std::vector<std::string> with_json = call;
  with_json.push_back("--json");
  const OrderedJson json =
      object_of(run(with_json), "generate",
                {"text", "tokens", "prompt_tok_s", "decode_tok_s", "ttft_ms", "tpot_ms_p50", "tpot_ms_p99"});
  EXPECT_EQ(json.at("tokens").size(), 12u);
  EXPECT_EQ(test::tiny_tokenizer().decode(json.at("tokens").get<std::vector<int32_t>>()),
            json.at("text").get<std::string>());
  for (const char* key : {"prompt_tok_s", "decode_tok_s", "ttft_ms", "tpot_ms_p50", "tpot_ms_p99"})
    EXPECT_GT(json.at(key).get<double>(), 0) << key;
  EXPECT_GE(json.at("tpot_ms_p99").get<double>(), json.at("tpot_ms_p50").get<double>());
  // The same text, streamed.
  EXPECT_EQ(run(call).out, "the hen" + json.at("text").get<std::string>() + "\n");
  // A seed says which text it is.
  const auto seeded = [&](const char* seed) {
    return object_of(run({"generate", model_, "-p", "the", "-n", "20", "--temperature", "2", "--ignore-eos",
                          "--json", "--seed", seed}),
                     "generate", {})
        .at("tokens");
  };
  EXPECT_EQ(seeded("3"), seeded("3"));
  EXPECT_NE(seeded("3"), seeded("4"));
}

TEST_F(CliJson, Perplexity) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += "the man and the hen sat in the sun, again. ";
  temp_.write("text", text);
  const std::vector<std::string> keys = {"perplexity", "nll", "tokens", "logits_finite", "loss_finite"};
  const OrderedJson alone =
      object_of(run({"perplexity", model_, "--text", temp_ / "text", "--json"}), "perplexity", keys);
  EXPECT_EQ(alone.at("tokens").get<size_t>(), test::tiny_tokenizer().encode(text, true, false).size() - 1);
  EXPECT_NEAR(std::log(alone.at("perplexity").get<double>()), alone.at("nll").get<double>(), 1e-9);
  EXPECT_EQ(alone.at("logits_finite"), true);
  EXPECT_FALSE(alone.contains("kl_mean"));
  ASSERT_EQ(run({"quantize", model_, "-o", temp_ / "q", "--scheme", "int4-g128", "-q"}).code, 0);
  const OrderedJson both = object_of(
      run({"perplexity", temp_ / "q", "--text", temp_ / "text", "--reference", model_, "--json"}),
      "perplexity",
      {"perplexity", "nll", "tokens", "logits_finite", "loss_finite", "kl_mean", "kl_p99", "top1_agreement"});
  EXPECT_GT(both.at("kl_mean").get<double>(), 0);
  EXPECT_GE(both.at("kl_p99").get<double>(), both.at("kl_mean").get<double>());
  EXPECT_GT(both.at("top1_agreement").get<double>(), 0);
  EXPECT_NEAR(both.at("reference_perplexity").get<double>(), alone.at("perplexity").get<double>(), 1e-9);
  test::Tensors tensors = test::read_tensors(model_);
  test::set_value(tensors.at("lm_head.weight"), 4, std::numeric_limits<float>::quiet_NaN());
  test::write_tensors(model_ + "/model.safetensors", tensors);
  const OrderedJson sick =
      object_of(run({"perplexity", model_, "--text", temp_ / "text", "--json"}), "perplexity", keys, 1);
  EXPECT_EQ(sick.at("logits_finite"), false);
}

TEST_F(CliJson, Evaluate) {
  temp_.write("tasks", "{\"prompt\":\"the\",\"choices\":[\" man\",\" hen\"],\"answer\":0}\n"
                       "{\"prompt\":\"the\",\"choices\":[\" man\",\" hen\"],\"answer\":1}\n");
  const OrderedJson alone = object_of(run({"evaluate", model_, "--tasks", temp_ / "tasks", "--json"}), "evaluate",
                                      {"accuracy", "stderr", "n", "truncated"});
  EXPECT_EQ(alone.at("accuracy"), 0.5);
  EXPECT_EQ(alone.at("truncated"), 0);
  EXPECT_EQ(alone.at("n"), 2);
  EXPECT_FALSE(alone.contains("agreement"));
  EXPECT_EQ(object_of(run({"evaluate", model_, "--tasks", temp_ / "tasks", "--reference", model_, "--json"}), "evaluate", {})
                .at("agreement"), 1);
  temp_.write("long", "{\"prompt\":\"" + std::string(200, '1') + "\",\"choices\":[\" man\",\" hen\"],\"answer\":0}\n");
  const Outcome cut = run({"evaluate", model_, "--tasks", temp_ / "long", "--json"});
  EXPECT_EQ(object_of(cut, "evaluate", {}).at("truncated"), 1);
  EXPECT_NE(cut.err.find("1 of 1 questions are longer"), std::string::npos) << cut.err;
}

TEST_F(CliJson, Bench) {
  const OrderedJson json = object_of(run({"bench", model_, model_ + "/", "--json", "--rounds", "1",
                                          "--prompt-tokens", "8", "--decode-tokens", "4"}),
                                     "bench", {"runs", "machine"});
  ASSERT_EQ(json.at("runs").size(), 2u);
  EXPECT_EQ(json.at("runs").at(0).at("name"), model_);
  EXPECT_EQ(json.at("runs").at(1).at("name"), model_ + "/");
  const OrderedJson& row = json.at("runs").at(0);
  EXPECT_EQ(row.at("compute"), "a16");
  for (const char* key : {"prefill_tok_s", "decode_tok_s", "weight_bytes", "bits_per_weight",
                          "read_bytes_per_token", "bandwidth_fraction", "peak_rss_bytes"})
    EXPECT_GT(row.at(key).get<double>(), 0) << key;
  for (const char* count : {"1", "4", "8", "16"})
    EXPECT_GT(row.at("batch").at(count).get<double>(), 0) << count;
  for (const char* key : {"read_bytes_s", "int8_ops_s", "bf16_flops_s"})
    EXPECT_GT(json.at("machine").at(key).get<double>(), 0) << key;
  EXPECT_TRUE(json.at("machine").at("two_cores").is_boolean());
  EXPECT_NEAR(row.at("bandwidth_fraction").get<double>(),
              row.at("read_bytes_per_token").get<double>() * row.at("decode_tok_s").get<double>() /
                  json.at("machine").at("read_bytes_s").get<double>(),
              1e-9);
}

TEST_F(CliJson, BenchBehindContexts) {
  const OrderedJson json = object_of(run({"bench", model_, "--json", "--rounds", "2", "--prompt-tokens", "8", "--decode-tokens", "4", "--batch", "2",
                                          "--context", "3000", "--context", "10", "--kv", "fp8"}),
                                     "bench", {"runs", "machine"});
  EXPECT_EQ(json.at("kv"), "fp8");
  const OrderedJson& row = json.at("runs").at(0);
  ASSERT_EQ(row.at("context").size(), 2u);
  EXPECT_GT(row.at("context").at("3000").get<double>(), 0);
  EXPECT_GT(row.at("context").at("10").get<double>(), 0);
  EXPECT_GT(row.at("kv_bytes").get<int64_t>(), 2 * 3000 * 2 * 2 * 8) << "two layers with at least a head of 8 each";
  EXPECT_EQ(run({"bench", model_, "--context", "9", "--profile"}).code, 2);
}

TEST_F(CliJson, BenchReadsPromptsTogether) {
  const auto json = object_of(run({"bench", model_, "--json", "--rounds", "2", "--prompt-tokens", "8", "--decode-tokens", "4", "--batch", "2", "--prompts", "1x3",
                                   "--prompts", "10x70"}), "bench", {"runs"});  // in more than one piece
  const OrderedJson& prompts = json.at("runs").at(0).at("prompts");
  ASSERT_EQ(prompts.size(), 2u);
  EXPECT_GT(prompts.at("1x3").get<double>(), 0);
  EXPECT_GT(prompts.at("10x70").get<double>(), 0);
  const auto text = run({"bench", model_, "--rounds", "1", "--prompt-tokens", "8", "--decode-tokens", "4", "--batch", "2", "--prompts", "2x3"});
  EXPECT_NE(text.out.find("2x3"), std::string::npos) << text.out;
  for (const std::string bad : {"8", "x8", "8x", "0x3", "3x0", "-1x3", "3x4x5", "99999x1", "3x9999999999999999999999", " 2x5", "+2x5", "2x 5", "4096x1048576"})
    test::expect_refusal(run({"bench", model_, "--prompts", bad}), 2, {bad, "8x128"});
}

TEST_F(CliJson, BenchOfRequests) {
  const OrderedJson json = object_of(run({"bench", model_, "--json", "--requests", "5", "--prompt-tokens", "200", "--decode-tokens", "4", "--batch", "2"}),
                                     "bench", {"requests", "runs"});
  EXPECT_EQ(json.at("requests"), 5);
  const OrderedJson& row = json.at("runs").at(0);
  EXPECT_EQ(row.at("decoded_tokens"), 5 * 4);
  EXPECT_GE(row.at("prompt_tokens").get<int64_t>(), 5 * 50);
  EXPECT_LE(row.at("prompt_tokens").get<int64_t>(), 5 * 200);
  EXPECT_LE(row.at("mean_first_token_s").get<double>(), row.at("mean_latency_s").get<double>());
  EXPECT_LE(5 * row.at("mean_latency_s").get<double>(), 2 * row.at("seconds").get<double>());  // two at a time
  EXPECT_GT(row.at("tok_s").get<double>(), 0);
}

TEST_F(CliJson, DecodeCacheIsKeptAndTold) {
  ASSERT_EQ(run({"quantize", model_, "-o", temp_ / "c", "--scheme", "coded-6", "-q"}).code, 0);
  const auto cache_of = [&](const std::string& size) {
    const OrderedJson json = object_of(run({"bench", temp_ / "c", "--json", "--rounds", "1", "--prompt-tokens", "4", "--decode-tokens", "2", "--batch", "2", "--decode-cache", size}), "bench", {"runs"});
    return json.at("runs").at(0).at("decode_cache");
  };
  const OrderedJson none = cache_of("0"), some = cache_of("10KB"), all = cache_of("1MB");
  EXPECT_EQ(none.at("matrices"), 0);
  EXPECT_GT(some.at("matrices"), 0);
  EXPECT_LT(some.at("matrices"), all.at("matrices"));
  EXPECT_LE(some.at("bytes"), 10000);
  EXPECT_EQ(all.at("matrices"), all.at("of"));
  const std::vector<std::string> generate = {"generate", temp_ / "c", "-p", "abc", "-n", "12", "--temperature", "0", "--json"};
  std::vector<std::string> cached = generate;
  cached.insert(cached.end(), {"--decode-cache", "1MB"});
  const Outcome with = run(cached);
  temp_.write("text", "the hen and the man in the sun");
  temp_.write("tasks", "{\"prompt\":\"the\",\"choices\":[\" man\",\" hen\"],\"answer\":0}\n");
  for (std::vector<std::string> call : std::vector<std::vector<std::string>>{
           generate, {"perplexity", temp_ / "c", "--text", temp_ / "text", "--json"}, {"evaluate", temp_ / "c", "--tasks", temp_ / "tasks", "--json"}}) {
    EXPECT_FALSE(object_of(run(call), call[0], {}).contains("decode_cache"));
    call.insert(call.end(), {"--decode-cache", "1MB"});
    const OrderedJson told = object_of(run(call), call[0], {"decode_cache"}).at("decode_cache");
    for (const char* key : {"matrices", "of", "bytes"}) EXPECT_EQ(told.at(key), all.at(key)) << call[0] << key;
  }
  EXPECT_EQ(object_of(with, "generate", {"text"}).at("tokens"), object_of(run(generate), "generate", {"text"}).at("tokens"));
  EXPECT_NE(with.err.find("decode cache: " + std::to_string(all.at("of").get<int>()) + " of "), std::string::npos) << with.err;
  EXPECT_EQ(run({"bench", temp_ / "c", "--decode-cache", "much"}).code, 2);
}

TEST_F(CliJson, MappedWeightsAreTheSameAndTold) {
  ASSERT_EQ(run({"quantize", model_, "-o", temp_ / "q", "--scheme", "int4-g32", "-q"}).code, 0);
  std::vector<std::string> generate = {"generate", temp_ / "q", "-p", "abc", "-n", "12", "--temperature", "0", "--json"};
  const OrderedJson plain = object_of(run(generate), "generate", {"tokens"});
  generate.push_back("--mmap");
  const Outcome mapped = run(generate);
  EXPECT_EQ(object_of(mapped, "generate", {"tokens"}).at("tokens"), plain.at("tokens"));
  EXPECT_NE(mapped.err.find(" stay in the model's files"), std::string::npos) << mapped.err;
  std::vector<std::string> bench = {"bench", temp_ / "q", "--json", "--rounds", "1", "--prompt-tokens", "4", "--decode-tokens", "2", "--batch", "2"};
  const auto first = [&] { return object_of(run(bench), "bench", {"runs"}).at("runs").at(0); };
  EXPECT_EQ(first().at("mapped_bytes"), 0);
  bench.push_back("--mmap");
  const OrderedJson row = first();
  EXPECT_GT(row.at("mapped_bytes"), 0);
  EXPECT_LT(row.at("mapped_bytes"), row.at("weight_bytes"));
  const OrderedJson profile = object_of(run({"bench", temp_ / "q", "--json", "--profile", "--mmap", "--rounds", "1", "--prompt-tokens", "4", "--decode-tokens", "2"}), "bench", {"runs"});
  EXPECT_EQ(profile.at("runs").at(0).at("memory").at("mapped"), row.at("mapped_bytes"));
  EXPECT_EQ(profile.at("runs").at(0).at("kernels").at(0).at("kernel").get<std::string>().find("lay_out_panel, "), 0u);
  EXPECT_EQ(run({"bench", "--shape", "tinyllama-1.1b", "--scheme", "int8", "--mmap"}).code, 2);
  ASSERT_EQ(run({"convert", temp_ / "q", "-o", temp_ / "q.gguf", "--to", "gguf", "-q"}).code, 0);
  temp_.write("text", "the hen and the man in the sun");
  EXPECT_EQ(run({"perplexity", temp_ / "q", "--mmap", "--text", temp_ / "text", "--reference", temp_ / "q.gguf"}).code, 0);
  const Outcome refused = run({"generate", temp_ / "q.gguf", "-p", "abc", "--mmap"});
  EXPECT_NE(refused.code, 0);
  EXPECT_NE(refused.err.find("cannot stay in their file"), std::string::npos) << refused.err;
}

TEST_F(CliJson, BenchOfUnpacking) {
  ASSERT_EQ(run({"quantize", model_, "-o", temp_ / "c", "--scheme", "coded-6", "-q"}).code, 0);
  const OrderedJson json = object_of(run({"bench", temp_ / "c", "--json", "--baseline", "unpack", "--rounds", "3", "--threads", "2"}), "bench", {"baseline", "runs", "machine"});
  ASSERT_EQ(json.at("runs").size(), 6u);
  EXPECT_EQ(json.at("runs").at(0).at("way"), "ours");
  for (size_t i = 0; i < 6; ++i) {
    const OrderedJson& r = json.at("runs").at(i);
    EXPECT_EQ(r.at("matrices"), 15);
    EXPECT_GT(r.at("products_ms").get<double>(), 0);
    if (i == 0) continue;
    const bool fused = r.at("way") == "unpack, product fused" || r.at("way") == "unpack, all three";
    // The codes come back as they were: with them the products are the same bits, with their BF16 values the same but for rounding.
    const double difference = r.at("max_difference");
    EXPECT_EQ(difference == 0, fused) << r;
    EXPECT_LT(difference, 1.0 / 128) << r;  // BF16 keeps a weight to 1 part in 256 at worst, and most sums are not the largest
    EXPECT_EQ(r.at("stages_ms").at("widen") == 0, fused) << r;
    EXPECT_GT(r.at("stages_ms").at("unpack").get<double>(), 0);
    const bool reused = r.at("way") == "unpack, buffers reused" || r.at("way") == "unpack, all three";
    EXPECT_EQ(r.at("allocated_bytes") == 0, reused) << r;
  }
  EXPECT_EQ(json.at("runs").at(1).at("allocated_bytes"), json.at("runs").at(3).at("allocated_bytes")) << "at once or not";
  EXPECT_EQ(run({"bench", model_, "--baseline", "unpack"}).code, 2) << "16-bit weights have no codes";
  EXPECT_EQ(run({"bench", temp_ / "c", "--baseline", "other"}).code, 2);
}

// A head in 16 bits, coded or not, takes no part, and the bytes are those of the matrices that do.
TEST_F(CliJson, BenchOfUnpackingLeavesOthersOut) {
  const std::string tied = tiny_model("llama-tied", temp_ / "tied");
  for (const auto& [scheme, source, matrices] : {std::tuple<std::string, std::string, int>{"int8", model_, 14}, {"int8-coded", tied, 21}}) {
    const std::string model = temp_ / scheme;
    ASSERT_EQ(run({"quantize", source, "-o", model, "--scheme", scheme, "-q"}).code, 0);
    const OrderedJson json = object_of(run({"bench", model, "--json", "--baseline", "unpack", "--rounds", "1", "--compute", "a8"}), "bench", {"runs"});
    ASSERT_EQ(json.at("runs").size(), 6u);
    for (const OrderedJson& r : json.at("runs")) {
      EXPECT_EQ(r.at("matrices"), matrices);
      EXPECT_EQ(r.at("left_out"), 1);
      const bool codes = r.at("way") == "ours" || r.at("way") == "unpack, product fused" || r.at("way") == "unpack, all three";
      EXPECT_EQ(r.at("compute"), codes ? "a8" : "a16") << r.at("way");
    }
    if (scheme != "int8") continue;
    size_t bytes = 0;
    for (const auto& [name, tensor] : test::read_tensors(model))
      if (name.ends_with("_proj.weight_packed") || name.ends_with("_proj.weight") || name.ends_with("_proj.weight_scale")) bytes += tensor.data.size();
    EXPECT_EQ(json.at("runs").at(0).at("weight_bytes"), bytes);
    EXPECT_NE(run({"bench", model, "--baseline", "unpack", "--rounds", "1", "-q"}).out.find("1 of 15 matrices"), std::string::npos);
  }
}

TEST_F(CliJson, ErrorsPrintNoObject) {
  for (const char* command : {"inspect", "verify"})
    test::expect_refusal(run({command, temp_ / "nothing", "--json", "-q"}), 2);
  test::expect_refusal(run({"generate", temp_ / "nothing", "-p", "x", "--json", "-q"}), 2);
}

TEST_F(CliJson, BenchOfOneProduct) {
  const OrderedJson json = object_of(
      run({"bench", "--op", "gemm", "--size", "3,64,256", "--scheme", "int8", "--scheme", "int4-g128", "--compute", "a8", "--rounds", "1", "--threads", "1", "--json"}),
      "bench", {"op", "size", "runs", "machine"});
  ASSERT_EQ(json.at("runs").size(), 2u);
  for (const auto& r : json.at("runs")) {
    EXPECT_EQ(r.at("compute"), "a8");
    EXPECT_GT(r.at("seconds").get<double>(), 0);
    EXPECT_GT(r.at("mse").get<double>(), 0);
    EXPECT_GE(r.at("max_difference").get<double>(), std::sqrt(r.at("mse").get<double>()));
    // Outputs have a variance of 5/3: unit inputs, Student-t5 weights over sqrt(columns). INT4 leaves about 1% of it.
    EXPECT_LT(r.at("mse").get<double>(), 0.1);
  }
  EXPECT_LT(json.at("runs").at(0).at("mse").get<double>(), json.at("runs").at(1).at("mse").get<double>());
  const OrderedJson outliers = object_of(run({"bench", "--op", "gemm", "--size", "3,64,256", "--scheme", "w8a8", "--scheme", "llm-int8", "--outliers", "3",
                                              "--rounds", "1", "--threads", "1", "--json"}),
                                         "bench", {"runs"});
  EXPECT_LT(outliers.at("runs").at(1).at("mse").get<double>(), outliers.at("runs").at(0).at("mse").get<double>() / 2) << "LLM.int8() takes them out";
  EXPECT_EQ(run({"bench", "--op", "gemm", "--size", "3,64,256", "--scheme", "int8", "--outliers", "257"}).code, 2);
  EXPECT_EQ(run({"bench", "--op", "gemm", "--scheme", "int8"}).code, 2);
  EXPECT_EQ(run({"bench", model_, "--size", "1,2,3"}).code, 2);
}

TEST_F(CliJson, BenchOfExperts) {
  for (const std::string layout : {"contiguous", "masked"}) {
    const OrderedJson json = object_of(run({"bench", "--op", "gemm", "--size", "400,64,256", "--experts", "4", "--layout", layout, "--scheme", "fp8-block",
                                            "--scheme", "w8a8", "--rounds", "1", "--threads", "2", "--json"}),
                                       "bench", {"op", "size", "experts", "layout", "runs", "machine"});
    EXPECT_EQ(json.at("layout"), layout);
    ASSERT_EQ(json.at("runs").size(), 2u);
    for (const auto& r : json.at("runs")) {
      for (const char* key : {"seconds", "gop_s", "gb_s", "dense_seconds", "over_dense", "single_seconds"}) EXPECT_GT(r.at(key).get<double>(), 0) << key;
      // Drawn, not dealt: uneven, and within six standard deviations, sqrt(400 / 4 * 3 / 4), of the mean.
      const int64_t fewest = r.at("rows").at(0), most = r.at("rows").at(1);
      EXPECT_LT(fewest, 100);
      EXPECT_GT(fewest, 100 - 52);
      EXPECT_LT(most, 100 + 52);
      EXPECT_EQ(r.at("rows"), json.at("runs").at(0).at("rows")) << "the same draw for every scheme";
    }
  }
  // A single row reads the weight of a single expert, however many there are.
  const auto row_of = [&](const std::string& experts) {
    return object_of(run({"bench", "--op", "gemm", "--size", "1,64,256", "--experts", experts, "--scheme", "int8", "--rounds", "1", "--threads", "1", "--json"}), "bench", {"runs"})
        .at("runs").at(0);
  };
  const OrderedJson one = row_of("1"), many = row_of("8");
  EXPECT_EQ(many.at("rows"), OrderedJson({0, 1}));
  EXPECT_EQ(many.at("experts_with_rows"), 1);
  EXPECT_EQ(many.at("weight_bytes"), one.at("weight_bytes"));
  EXPECT_NEAR(many.at("gb_s").get<double>() * many.at("seconds").get<double>() * 1e9, one.at("weight_bytes").get<double>(), 1e-3);
  EXPECT_EQ(run({"bench", model_, "--experts", "4"}).code, 2);
  EXPECT_EQ(run({"bench", "--op", "gemm", "--size", "3,64,256", "--scheme", "int8", "--experts", "4", "--layout", "loose"}).code, 2);
}

TEST_F(CliJson, BenchSweeps) {
  const auto sweep = [&](const std::string& what, const std::string& scheme) {
    const OrderedJson json = object_of(run({"bench", "--op", "gemm", "--size", "20,64,256", "--sweep", what, "--scheme", scheme, "--rounds", "1", "--threads", "1", "--json"}),
                                       "bench", {"op", "size", "sweep", "runs", "machine"});
    for (const auto& t : json.at("runs").at(0).at("times")) EXPECT_GT(t.at("seconds").get<double>(), 0);
    EXPECT_EQ(json.at("runs").at(0).at("compute"), scheme == "int8" ? "a16" : "a8") << "what ran, not what --compute says";
    return json.at("runs").at(0).at("times");
  };
  const OrderedJson tiles = sweep("tiles", "w8a8");
  ASSERT_EQ(tiles.size(), 6u) << "12 rows and all 20; tasks as chosen, of 2 and of all 4 panels";
  EXPECT_EQ(tiles.at(1).at("rows_per_pass"), 12);
  EXPECT_EQ(tiles.at(1).at("panels_per_task"), 2);
  EXPECT_EQ(tiles.at(5).at("rows_per_pass"), 20);
  for (const std::string scheme : {"int8", "fp8-block"}) {
    const OrderedJson blocks = sweep("block-size", scheme);
    ASSERT_EQ(blocks.size(), 5u);
    const char* names[] = {"64", "128", "256", "channel", "tensor"};
    for (size_t i = 0; i < 5; ++i) EXPECT_EQ(blocks.at(i).at("block"), names[i]);
    EXPECT_GT(blocks.at(0).at("weight_bytes"), blocks.at(2).at("weight_bytes"));
    if (scheme == "int8") {
      EXPECT_LT(blocks.at(0).at("mse"), blocks.at(4).at("mse"));
    }
  }
  const OrderedJson layouts = sweep("scale-layout", "fp8-block");
  ASSERT_EQ(layouts.size(), 6u) << "blocks of 128 and channels, three types each";
  EXPECT_EQ(layouts.at(0).at("block"), "128");
  EXPECT_EQ(layouts.at(3).at("block"), "channel");
  EXPECT_EQ(layouts.at(0).at("scale_type"), "F32");
  EXPECT_GT(layouts.at(0).at("weight_bytes"), layouts.at(1).at("weight_bytes"));
  EXPECT_EQ(layouts.at(1).at("weight_bytes"), layouts.at(2).at("weight_bytes"));
  const OrderedJson asymmetric = sweep("scale-layout", "w8a8-asym");  // made-up weights have their zero points
  const double symmetric = sweep("scale-layout", "w8a8").at(3).at("mse");
  for (const auto& t : asymmetric) EXPECT_LT(t.at("mse").get<double>(), 2 * symmetric);
  test::expect_refusal(run({"bench", "--op", "gemm", "--size", "3,64,256", "--scheme", "int8", "--sweep", "scales"}), 2, {"tiles", "block-size", "scale-layout"});
  EXPECT_EQ(run({"bench", "--op", "gemm", "--size", "3,64,256", "--scheme", "bf16", "--sweep", "block-size"}).code, 2);
  test::expect_refusal(run({"bench", "--op", "gemm", "--size", "3,64,256", "--scheme", "llm-int8", "--sweep", "block-size"}), 2, {"llm-int8", "w8a8"});
}

TEST_F(CliJson, BenchProfile) {
  ASSERT_EQ(run({"quantize", model_, "-o", temp_ / "q8", "--scheme", "int8", "-q"}).code, 0);
  const OrderedJson json =
      object_of(run({"bench", temp_ / "q8", "--profile", "--compute", "a8", "--rounds", "1", "--prompt-tokens", "9", "--decode-tokens", "2", "--threads", "1", "--json"}),
                "bench", {"runs", "machine"});
  const auto& r = json.at("runs").at(0);
  double prefill = 0;
  for (const auto& op : r.at("ops")) prefill += op.at("prefill_ms").get<double>();
  EXPECT_GT(prefill, 0);
  ASSERT_EQ(r.at("kernels").size(), 15u);
  EXPECT_NE(r.at("kernels").at(0).at("kernel").get<std::string>().find("u8 x a8"), std::string::npos);
  EXPECT_FALSE(r.at("kernels").at(0).at("fallback"));
  EXPECT_EQ(r.at("kernels").at(14).at("layer"), "lm_head");
  EXPECT_TRUE(r.at("kernels").at(14).at("fallback")) << "lm_head stays in 16 bits";
  for (const char* owner : {"weights", "kv", "scratch"}) EXPECT_GT(r.at("memory").at(owner).get<double>(), 0);
}

TEST_F(CliJson, ComputeSaysWhatRan) {
  ASSERT_EQ(run({"quantize", model_, "-o", temp_ / "c8", "--scheme", "int8", "-q"}).code, 0);
  for (const std::string compute : {"a16", "a8"}) {
    const OrderedJson json = object_of(run({"generate", temp_ / "c8", "-p", "a", "-n", "2", "--temperature", "0", "--compute", compute, "--kv", compute == "a8" ? "fp8" : "int8", "--json"}),
                                       "generate", {"text", "compute"});
    EXPECT_EQ(json.at("compute"), compute);
  }
  EXPECT_EQ(run({"generate", temp_ / "c8", "-p", "a", "--compute", "a4"}).code, 2);
}

}  // namespace
}  // namespace codecllm
