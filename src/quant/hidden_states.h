// SPDX-License-Identifier: Apache-2.0
// The hidden states of all calibration samples between two blocks, in a file without a name: memory holds one sample.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace codecllm {

class HiddenStates {
 public:
  // The file lies in `directory` and vanishes with the process.
  HiddenStates(const std::string& directory, int64_t values_per_sample);
  ~HiddenStates();
  HiddenStates(const HiddenStates&) = delete;
  HiddenStates& operator=(const HiddenStates&) = delete;

  void write(int64_t sample, std::span<const float> values);  // values_per_sample or fewer
  void read(int64_t sample, std::span<float> values) const;

 private:
  [[noreturn]] void fail() const;

  std::string directory_;
  int64_t sample_bytes_;
  int fd_;
};

}  // namespace codecllm
