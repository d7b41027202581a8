// SPDX-License-Identifier: Apache-2.0
// One model or scheme under measurement in a process of its own, so that memory is told apart and each starts fresh.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/json.h"
#include "cli/loaded.h"
#include "gen/measure.h"

namespace codecllm::cli {

// What a worker measures: a checkpoint, a shape with made-up weights in a scheme, or, with all but the name empty, the
// machine itself.
struct BenchTarget {
  std::string name;   // as in runs[].name
  std::string model;  // directory; empty: synthetic
  std::string shape, scheme;
  ModelOptions held = {};
};

// The model that a target names, and what of it is kept decoded. Throws what loading throws.
DecoderModel make_model(const Context& context, const BenchTarget& target, DecodeCache* cache = nullptr);

// The parent's end. Workers wait until they are asked, so that models take turns.
class BenchWorker {
 public:
  BenchWorker(const BenchTarget& target, const Globals& globals, const MeasureOptions& options);
  ~BenchWorker();
  BenchWorker(BenchWorker&& other) noexcept;

  // Asks and waits: "info" (answered once the model is loaded), "round" or "requests". Throws what the worker threw.
  Json ask(const std::string& question);

 private:
  pid_t pid_ = -1;
  int to_ = -1, from_ = -1;
  std::string pending_, name_;
};

}  // namespace codecllm::cli
