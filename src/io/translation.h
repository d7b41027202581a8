// SPDX-License-Identifier: Apache-2.0
// A checkpoint of somebody else's layout, told in the one layout that the rest of the program knows: Hugging Face's
// config and tensor names, and compressed-tensors' tensors for what is quantized. Codes and scales keep their values;
// only their places change. Translated tensors live in memory until the Checkpoint is destroyed.
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "io/safetensors.h"

namespace codecllm {

// What a translator noticed; `inspect` prints it.
struct TranslationNote {
  std::string text;  // names tensor or file
  std::string remedy;
};

class Translation {
 public:
  struct Entry {
    TensorInfo tensor;
    const MappedFile* file;  // where it comes from; its data may lie elsewhere
  };

  // A tensor whose bytes are in the file as they are.
  void pass(TensorInfo tensor, const MappedFile& file) { entries_.push_back({std::move(tensor), &file}); }

  // A new tensor; returns its memory, zeroed.
  std::span<std::byte> make(std::string name, DType dtype, std::vector<int64_t> shape, const MappedFile& file);

  void note(std::string text, std::string remedy) { notes_.push_back({std::move(text), std::move(remedy)}); }

  const std::deque<Entry>& entries() const { return entries_; }
  const std::vector<TranslationNote>& notes() const { return notes_; }

  Json config;  // config.json of what is told

 private:
  std::deque<Entry> entries_;  // never moves its elements
  std::deque<std::vector<std::byte>> memory_;
  std::vector<TranslationNote> notes_;
};

}  // namespace codecllm
