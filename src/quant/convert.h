// SPDX-License-Identifier: Apache-2.0
// A model in, the same model in another program's layout out. What the new layout can hold is carried over bit by bit;
// the rest is quantized again, and how far off that is, is told.
#pragma once

#include <string>
#include <vector>

#include "base/context.h"

namespace codecllm {

struct ConvertOptions {
  std::string format;           // a row of convert_target.def
  std::string type = "auto";    // gguf: f32, f16, bf16, q8_0, q4_0; auto: symmetric integers keep their codes, all else its floats
};

struct ConvertedTensor {
  std::string name, stored;     // as it was called; how it is stored now
  bool exact = true;            // every value is what it was
  double max_error = 0;         // largest |new - old|
};

struct ConvertResult {
  std::vector<ConvertedTensor> tensors;
  uint64_t source_bytes = 0, bytes = 0;
  double seconds = 0;
  std::vector<std::string> notes;  // who will refuse the result

  int64_t exact() const;
  int64_t requantized() const;     // tensors that are not exact
  double max_error() const;
};

// Writes `output`, a directory or (gguf) a file that must not exist; an error leaves nothing behind. Throws
// Error(bad_call) that lists the formats for one that is none.
ConvertResult convert_checkpoint(const Context& context, const std::string& model, const std::string& output,
                                 const ConvertOptions& options, const Progress& progress = {});

std::vector<std::string> convert_formats();

}  // namespace codecllm
