// SPDX-License-Identifier: Apache-2.0
// Quantizes a model, loads the result and continues a text. Usage: embed MODEL OUTPUT
#include <codecllm/model.h>
#include <codecllm/quantize.h>

#include <cstdio>

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: embed MODEL OUTPUT\n"), 2;
  try {
    const codecllm::Context context;
    const auto report = codecllm::quantize(context, {.model = argv[1], .output = argv[2], .scheme = "int8"});
    std::printf("%.2f bits per weight, %zu layers\n", report.bits_per_weight, report.layers.size());
    codecllm::Session session(codecllm::Model::load(context, argv[2]));
    std::printf("The capital of France is%s\n", session.generate("The capital of France is", {.max_tokens = 4}).text.c_str());
  } catch (const codecllm::Error& error) {
    return std::fprintf(stderr, "%s\n", error.what()), error.exit_code();
  }
}
