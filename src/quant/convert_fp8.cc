// SPDX-License-Identifier: Apache-2.0
// 8-bit floats in blocks as DeepSeek stores them: of every linear layer but lm_head, `weight` in F8_E4M3 and
// `weight_scale_inv`, which despite its name is what each block of 128 x 128 is multiplied with.
#include <atomic>
#include <cmath>
#include <mutex>

#include "format/plain_float.h"
#include "quant/convert_job.h"

namespace codecllm {

namespace {

constexpr int64_t kFp8Block = 128;

int64_t fp8_blocks(int64_t n) { return (n + kFp8Block - 1) / kFp8Block; }

QuantArgs fp8_block_args() {
  return {.type = NumberType::floating, .strategy = Strategy::block, .block = {static_cast<int>(kFp8Block), static_cast<int>(kFp8Block)}};
}

// Whether every block has one scale already.
bool is_in_blocks(const SourceLinear& source) {
  const QuantArgs* args = source.args();
  if (args == nullptr || args->type != NumberType::floating) return false;
  if (args->strategy == Strategy::block) return args->block[0] % kFp8Block == 0 && args->block[1] % kFp8Block == 0;
  return args->strategy == Strategy::tensor;
}

struct Fp8Layer {
  std::vector<int8_t> codes;  // [rows, columns]
  std::vector<float> scales;  // [row blocks, column blocks]
  Change change;
};

// The rows of one block, found anew.
void round_fp8_rows(const SourceLinear& source, int64_t first, int64_t count, Fp8Layer& out, Change& change) {
  const int64_t columns = source.linear().columns, blocks = fp8_blocks(columns);
  const QuantArgs args = fp8_block_args();
  std::vector<float> values(static_cast<size_t>(count * columns)), now(static_cast<size_t>(kFp8Block));
  for (int64_t i = 0; i < count; ++i)
    source.values(first + i, std::span(values).subspan(static_cast<size_t>(i * columns), static_cast<size_t>(columns)));
  for (int64_t b = 0; b < blocks; ++b) {
    const auto part = [&](int64_t i) {
      return std::span<const float>(values).subspan(static_cast<size_t>(i * columns + b * kFp8Block),
                                                    static_cast<size_t>(std::min(kFp8Block, columns - b * kFp8Block)));
    };
    Range range;
    for (int64_t i = 0; i < count; ++i) range.include(finite_range(part(i)));
    const Grid grid = fit_grid(range, args, ScaleRule::restricted, DType::f32);
    out.scales[static_cast<size_t>(first / kFp8Block * blocks + b)] = grid.scale;
    for (int64_t i = 0; i < count; ++i) {
      const auto codes = std::span(out.codes).subspan(static_cast<size_t>((first + i) * columns + b * kFp8Block), part(i).size());
      encode(part(i), grid, args, ScaleRule::restricted, codes.data());
      decode(codes, grid, args, now.data());
      for (size_t k = 0; k < codes.size(); ++k) change.add(part(i)[k], now[k]);
    }
  }
}

void copy_fp8_rows(const SourceLinear& source, int64_t first, int64_t count, Fp8Layer& out) {
  const PackedReader& reader = source.reader();
  const int64_t blocks = fp8_blocks(reader.columns());
  for (int64_t i = first; i < first + count; ++i) reader.codes(i, out.codes.data() + i * reader.columns());
  for (int64_t b = 0; b < blocks; ++b)
    out.scales[static_cast<size_t>(first / kFp8Block * blocks + b)] = reader.scale(first, b * kFp8Block / reader.group());
}

Fp8Layer fp8_layer(const Context& context, const SourceLinear& source) {
  const LinearSpec& linear = source.linear();
  Fp8Layer out;
  out.codes.resize(static_cast<size_t>(linear.rows * linear.columns));
  out.scales.resize(static_cast<size_t>(fp8_blocks(linear.rows) * fp8_blocks(linear.columns)));
  std::mutex lock;
  context.impl().pool.parallel_for(static_cast<size_t>(fp8_blocks(linear.rows)), 1, [&](size_t begin, size_t end, int) {
    Change change;
    for (size_t block = begin; block < end; ++block) {
      const int64_t first = static_cast<int64_t>(block) * kFp8Block, count = std::min(kFp8Block, linear.rows - first);
      is_in_blocks(source) ? copy_fp8_rows(source, first, count, out) : round_fp8_rows(source, first, count, out, change);
    }
    const std::lock_guard guard(lock);
    out.change.add(change);
  });
  const bool finite = std::all_of(out.scales.begin(), out.scales.end(), [](float scale) { return std::isfinite(scale); }) &&
                      std::none_of(out.codes.begin(), out.codes.end(), [](int8_t code) { return (code & 0x7f) == 0x7f; });  // NaN
  if (!finite) throw Error(ErrorCode::bad_input, "convert", "the weights hold NaN or infinity", {.tensor = source.tensor().name});
  return out;
}

// Whether its activations are E4M3 in groups of a block's width already.
bool reads_groups(const ConvertJob& job, const SourceLinear& source) {
  const QuantGroup* group = source.args() != nullptr ? job.config.group_for(source.linear().name) : nullptr;
  if (group == nullptr || !group->scheme.activations) return false;
  const QuantArgs& inputs = *group->scheme.activations;
  return inputs.type == NumberType::floating && inputs.strategy == Strategy::group && inputs.group_size == kFp8Block;
}

}  // namespace

void convert_target::to_fp8_block(ConvertJob& job) {
  DirectoryWriter writer(job);
  std::set<std::string, std::less<>> modules;
  bool other_inputs = false;
  for (const LinearSpec& linear : job.linears()) {
    const SourceLinear source(job.checkpoint, job.config, linear);
    const bool head = linear.kind == LinearKind::lm_head;  // stays plain
    if (head && source.args() == nullptr) continue;
    modules.insert(linear.name);
    if (head) {
      writer.add_floats(source, DType::f32);
      continue;
    }
    other_inputs = other_inputs || !reads_groups(job, source);
    const std::string weight = linear.name + ".weight", scale = weight + "_scale_inv";
    writer.add({{weight, DType::f8_e4m3, {linear.rows, linear.columns}}, {scale, DType::f32, {fp8_blocks(linear.rows), fp8_blocks(linear.columns)}}},
               [&job, source, weight, scale](PartialOutput& output) {
                 const Fp8Layer layer = fp8_layer(job.context, source);
                 output.write(weight, 0, std::as_bytes(std::span(layer.codes)));
                 output.write(scale, 0, std::as_bytes(std::span(layer.scales)));
                 job.tell(weight, "FP8", layer.change);
               });
  }
  writer.add_others(modules);
  job.note_coarser(8);
  if (other_inputs) job.note("in this layout activations are rounded, too: to E4M3 in groups of 128, with scales that are found at run time; the source does otherwise");
  OrderedJson config = config_without_quantization(job.checkpoint);
  config["quantization_config"] = {{"quant_method", "fp8"}, {"fmt", "e4m3"}, {"activation_scheme", "dynamic"},
                                   {"weight_block_size", {kFp8Block, kFp8Block}}, {"modules_to_not_convert", OrderedJson::array({"lm_head"})}};
  writer.finish(std::move(config));
}

}  // namespace codecllm
