// SPDX-License-Identifier: Apache-2.0
// Checkpoints that other packages wrote (tools/dump_interchange.py): every weight is the number that the package
// dequantizes it to, bit for bit, and the logits are the package's. And checkpoints that are written here, in every layout:
// byte by byte those of which transformers or GPTQModel computed the logits, which are the engine's.
#include <cmath>

#include "codec/checksum.h"
#include "model/forward.h"
#include "quant/convert_support.h"
#include "quant/verify.h"
#include "tiers.h"

namespace codecllm {
namespace {

namespace fs = std::filesystem;

std::string interchange_data(const std::string& name) { return test::source_path("tests/quant/data/interchange/" + name); }

std::vector<std::string> packages() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(interchange_data("")))
    if (fs::exists(entry.path() / "reference.safetensors")) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

template <class T>
std::vector<T> numbers(const SafetensorsFile& file, const std::string& name) {
  const TensorInfo* tensor = file.find(name);
  std::vector<T> values(tensor->data.size() / sizeof(T));
  std::memcpy(values.data(), tensor->data.data(), tensor->data.size());
  return values;
}

std::vector<float> logits_of(const std::string& path, const std::vector<int64_t>& tokens) {
  static const Context context({.threads = 2, .isa = test::float_isa()});
  const DecoderModel model = load_model(context, path);
  KvCache cache(model.spec, KvType::f32, static_cast<int64_t>(tokens.size()));
  KvSequence sequence;
  cache.grow(sequence, static_cast<int64_t>(tokens.size()));
  std::vector<BatchRow> rows;
  for (size_t i = 0; i < tokens.size(); ++i) rows.push_back({static_cast<int32_t>(tokens[i]), &sequence, static_cast<int64_t>(i), true});
  Forward forward(model, cache);
  const auto logits = forward.run(rows);
  return {logits.begin(), logits.end()};
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

class Interchange : public ::testing::TestWithParam<std::string> {};

// Other programs break ties otherwise, and AWQ moves factors into norms: rows need not be what we would have made.
TEST_P(Interchange, IsGoodBesideTheModelItWasMadeFrom) {
  const Checkpoint checkpoint(interchange_data(GetParam())), plain(interchange_data("plain"));
  const VerifyResult result = verify(test::two_threads(), checkpoint, &plain);
  EXPECT_EQ(static_cast<int64_t>(result.bad.size()), result.unlike) << testing::PrintToString(result.bad);
  EXPECT_EQ(result.unlike > 0, GetParam() == "awq-int4") << testing::PrintToString(result.bad);
}

TEST_P(Interchange, WeightsAreThePackages) {
  const std::string path = interchange_data(GetParam());
  const SafetensorsFile reference(path + "/reference.safetensors");
  const auto sums = numbers<int64_t>(reference, "checksum");
  const Checkpoint checkpoint(path);
  const ModelSpec spec = read_spec(checkpoint);
  const QuantConfig config = QuantConfig::read(checkpoint.config(), checkpoint.config_path());
  std::map<std::string, uint64_t> found;
  for (const LinearSpec& linear : spec.linears()) {
    if (linear.kind == LinearKind::lm_head) continue;
    const SourceLinear source(checkpoint, config, linear);
    EXPECT_NE(source.args(), nullptr);
    std::vector<float> values(static_cast<size_t>(linear.rows * linear.columns));
    for (int64_t row = 0; row < linear.rows; ++row)
      source.values(row, std::span(values).subspan(static_cast<size_t>(row * linear.columns), static_cast<size_t>(linear.columns)));
    found[linear.name] = checksum(0, values.data(), values.size() * 4);
  }
  ASSERT_EQ(found.size(), sums.size());
  size_t i = 0;
  for (const auto& [name, sum] : found) EXPECT_EQ(sum, static_cast<uint64_t>(sums[i++]) + (uint64_t{1} << 63)) << name;
}

// Both compute with the same numbers: here integers meet activations of 16 bits, exact to 2^-15.9 of a row's largest, in ten
// layers in a row. Where the package rounds activations to integers by another rule (amax / 127.5; LLM.int8()), or computes in
// 16 bits (AWQ), its own distance from the same weights in F32 is the measure.
void expect_logits(const std::string& path, const std::string& name, const SafetensorsFile& reference, const std::string& prefix) {
  const auto theirs = numbers<float>(reference, prefix + "logits"), dequantized = numbers<float>(reference, prefix + "dequantized");
  const std::vector<float> got = logits_of(path, numbers<int64_t>(reference, "input_ids"));
  ASSERT_EQ(got.size(), theirs.size());
  double allowed = 10 * distance(theirs, std::vector<float>(theirs.size())) / 32512;
  if (name.find("w8a8") != name.npos || name == "bnb-int8" || name.starts_with("awq")) allowed += 1.5 * distance(theirs, dequantized);
  EXPECT_LE(distance(got, theirs), allowed);
}

TEST_P(Interchange, LogitsAreThePackages) {
  const std::string path = interchange_data(GetParam());
  expect_logits(path, GetParam(), SafetensorsFile(path + "/reference.safetensors"), "");
}

// "SCHEME", or "LAYOUT:SCHEME" for what `convert` makes of it, or "gguf:TYPE".
std::string written(const test::TempDirectory& dir, const std::string& name) {
  const size_t colon = name.find(':');
  if (name.starts_with("gguf:")) {
    const std::string type = name.substr(colon + 1), source = dir / "model", to = dir / (type + ".gguf");
    test::converted(fs::exists(source) ? source : test::model_with_tokenizer(dir), to, "gguf", type);
    return to;
  }
  const std::string scheme = name.substr(colon == name.npos ? 0 : colon + 1), from = dir / scheme;
  if (!fs::exists(from)) test::quantized(dir, interchange_data("plain"), scheme);
  if (colon == name.npos) return from;
  test::converted(from, dir / name, name.substr(0, colon));
  return dir / name;
}

TEST(InterchangeOfOurs, LogitsAreThoseOfTransformers) {
  const SafetensorsFile reference(interchange_data("ours.safetensors"));
  const test::TempDirectory dir;
  int count = 0;
  for (const TensorInfo& tensor : reference.tensors()) {
    if (!tensor.name.ends_with(".file")) continue;
    const std::string name = tensor.name.substr(0, tensor.name.size() - 5);
    SCOPED_TRACE(name);
    const std::string path = written(dir, name);
    const std::string bytes = read_file(fs::is_directory(path) ? path + "/model.safetensors" : path);
    EXPECT_EQ(checksum(0, bytes.data(), bytes.size()), static_cast<uint64_t>(numbers<int64_t>(reference, tensor.name)[0]) + (uint64_t{1} << 63))
        << "the file has changed: tools/dump_interchange.py --ours";
    expect_logits(path, name, reference, name + ".");
    ++count;
  }
  EXPECT_GE(count, 17);
}

INSTANTIATE_TEST_SUITE_P(, Interchange, ::testing::ValuesIn(packages()), [](const auto& name) {
  std::string text = name.param;
  std::replace(text.begin(), text.end(), '-', '_');
  return text;
});

}  // namespace
}  // namespace codecllm
