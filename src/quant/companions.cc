// SPDX-License-Identifier: Apache-2.0
#include "quant/companions.h"

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "io/checksums.h"
#include "model/model_tokenizer.h"
#include "quant/output.h"
#include "quant/provenance.h"

namespace codecllm {

namespace fs = std::filesystem;

static bool is_companion(const fs::directory_entry& entry) {
  static constexpr const char* kEndings[] = {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx", ".index.json"};
  static constexpr const char* kNames[] = {"config.json", "quantize_config.json", "quant_config.json", kProvenanceFile, kChecksumFile, kJournalFile};
  const std::string name = entry.path().filename();
  std::error_code code;  // of a link that leads nowhere, say
  return entry.is_regular_file(code) && entry.file_size(code) <= (64u << 20) &&
         std::none_of(std::begin(kEndings), std::end(kEndings), [&](const char* ending) { return name.ends_with(ending); }) &&
         std::find(std::begin(kNames), std::end(kNames), name) == std::end(kNames);
}

// Whether programs that load the model read it: damaged, it makes the output useless.
static bool is_read_with_the_model(const std::string& name) {
  return name == "tokenizer.json" || name == "tokenizer_config.json" || name == "special_tokens_map.json" || name == "generation_config.json";
}

void for_companions(const Checkpoint& checkpoint, const std::function<void(const std::string& name, const std::string& text)>& put) {
  if (checkpoint.gguf() != nullptr) {
    for (const auto& [name, text] : gguf_companions(*checkpoint.gguf())) put(name, text);
    return;
  }
  for (const auto& entry : fs::directory_iterator(checkpoint.directory())) {
    if (!is_companion(entry)) continue;
    const std::string name = entry.path().filename(), text = read_file(entry.path());
    if (is_read_with_the_model(name)) parse_json(text, entry.path());
    put(name, text);
  }
}

void check_companions(const Checkpoint& checkpoint) {
  for_companions(checkpoint, [](const std::string&, const std::string&) {});
}

OrderedJson config_of_output(const Checkpoint& checkpoint) {
  return checkpoint.gguf() != nullptr ? OrderedJson(checkpoint.config()) : read_ordered_json_file(checkpoint.config_path());
}

}  // namespace codecllm
