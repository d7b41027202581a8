// SPDX-License-Identifier: Apache-2.0
// The naive way to run weights that are stored compressed, for bench --baseline unpack: each layer's codes are one zstd frame,
// and a decode step unpacks a layer, makes 16-bit weights of it, multiplies, and forgets them. Three improvements can be had
// one by one: buffers that are kept, the layers of a decoder block unpacked at once, and a product that takes the codes, so
// that no 16-bit copy is made.
#pragma once

#include <map>
#include <vector>

#include "kernels/linear.h"
#include "model/weights.h"

struct ZSTD_DCtx_s;

namespace codecllm::cli {

struct UnpackWay {
  bool reuse = false, batch = false, fuse = false;
};

// Seconds. Fresh memory is paid for where it is first written, so its cost is in unpack and widen, too.
struct UnpackTimes {
  double allocate = 0, unpack = 0, widen = 0, multiply = 0;
  size_t allocated_bytes = 0;
  double total() const { return allocate + unpack + widen + multiply; }
};

// The products of one decode step, each matrix of the decoder blocks and the head once, with inputs that stay the same.
// Matrices that are not 8-bit integers with one scale per row are left out, here and in run_ours.
class UnpackedProducts {
 public:
  explicit UnpackedProducts(const DecoderModel& model);
  ~UnpackedProducts();

  UnpackTimes run(const UnpackWay& way);
  double run_ours();  // as the model itself does it: seconds
  double largest_difference() const;  // between the outputs of the last run and of the last run_ours, over the largest output

  // Of the matrices that are not left out, with their scales: as the model holds them, and as frames.
  size_t our_bytes() const;
  size_t packed_bytes() const;
  int64_t matrices() const { return static_cast<int64_t>(layers_.size()); }
  int64_t left_out() const { return left_out_; }

 private:
  struct Layer {
    const Matrix* matrix;
    std::vector<uint8_t> frame;  // zstd, level 3, of the decoded panels
    std::vector<float> ours, unpacked;
  };
  struct Decoded {
    Buffer codes, wide;  // [panels][lines of u8], [panels][lines of bf16]
  };
  void add(const Matrix& matrix);
  void product(const MatrixView& w, std::vector<float>& y);
  void unpack(const Layer& layer, Decoded& to, int worker);
  void widen(const Layer& layer, Decoded& to);
  void multiply(Layer& layer, const Decoded& from, bool fuse);
  size_t allocate(const Layer& layer, Decoded& to, bool fuse);  // bytes that were not there

  ThreadPool& pool_;
  const KernelTable& kernels_;
  LinearScratch scratch_;
  std::map<int64_t, std::vector<float>> inputs_;  // by columns: [columns, padded]
  std::vector<Layer> layers_;
  std::vector<size_t> groups_;  // ends: the layers of each decoder block, then the head
  int64_t left_out_ = 0;
  std::vector<Decoded> kept_;   // buffers that are reused: for the layers of any group, the first one for any layer
  std::vector<ZSTD_DCtx_s*> unpackers_;  // one per thread
};

}  // namespace codecllm::cli
