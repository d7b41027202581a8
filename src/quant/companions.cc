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

void for_companions(const Checkpoint& checkpoint, const std::function<void(const std::string& name, const std::string& text)>& put) {
  if (checkpoint.gguf() != nullptr) {
    for (const auto& [name, text] : gguf_companions(*checkpoint.gguf())) put(name, text);
    return;
  }
  for (const auto& entry : fs::directory_iterator(checkpoint.directory()))
    if (is_companion(entry)) put(entry.path().filename(), read_file(entry.path()));
}

void check_companions(const Checkpoint& checkpoint) {
  if (checkpoint.gguf() != nullptr) return;  // made, not copied
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"})
    if (const std::string path = checkpoint.directory() + "/" + name; file_exists(path)) read_json_file(path);
}

OrderedJson config_of_output(const Checkpoint& checkpoint) {
  return checkpoint.gguf() != nullptr ? OrderedJson(checkpoint.config()) : read_ordered_json_file(checkpoint.config_path());
}

}  // namespace codecllm
