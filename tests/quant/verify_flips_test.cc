// SPDX-License-Identifier: Apache-2.0
// A flipped bit of a code or a scale is noticed against the reference.
#include <gtest/gtest.h>

#include "base/rng.h"
#include "quant/quantize.h"
#include "quant/support.h"

namespace codecllm {
namespace {

using test::Tensors;

TEST(VerifyFlips, EveryFlippedBitOfACodeOrScaleIsNoticed) {
  Rng rng(1);
  for (const char* model : {"llama-bf16", "llama"})
    for (const char* scheme : {"int8", "int8-tensor", "int8-g128", "int4-g128"}) {
      const test::TempDirectory temp;
      const std::string source = test::model_data(model);
      quantize_checkpoint(test::two_threads(), source, temp / "q", {.scheme = scheme_preset(scheme)});
      std::filesystem::remove(temp / "q/codecllm_checksums.json");  // it would notice, too: checksums_test.cc
      const Tensors tensors = test::read_tensors(temp / "q");
      for (const char* kind : {".weight_packed", ".weight_scale", ".weight_shape"})
        for (int i = 0; i < (test::kSanitized ? 4 : 40); ++i) {
          auto it = tensors.begin();
          do std::advance(it = tensors.begin(), static_cast<ptrdiff_t>(rng.below(tensors.size())));
          while (!it->first.ends_with(kind));
          Tensors changed = tensors;
          auto& data = changed.at(it->first).data;
          const uint64_t bit = rng.below(8 * data.size());
          data[bit / 8] ^= std::byte(1 << bit % 8);
          test::write_tensors(temp / "q/model.safetensors", changed);
          const Checkpoint reference(source), checkpoint(temp / "q");
          EXPECT_FALSE(verify(test::two_threads(), checkpoint, &reference).bad.empty())
              << model << " " << scheme << " " << it->first << " bit " << bit;
        }
    }
}

}  // namespace
}  // namespace codecllm
