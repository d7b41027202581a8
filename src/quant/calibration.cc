// SPDX-License-Identifier: Apache-2.0
#include "quant/calibration.h"

#include <algorithm>

#include "base/file.h"
#include "base/utf8.h"
#include "format/plain_float.h"
#include "model/model_tokenizer.h"

namespace codecllm {

static constexpr int64_t kDefaultWindow = 512;
// Of a long text; more would be more even, but each must hold a window of a long context.
static constexpr size_t kTextPieces = 16;

// Where a piece that is cut out of the middle of a text may begin.
static size_t first_line(std::string_view piece) {
  const size_t end = piece.substr(0, piece.size() / 2).find('\n');
  if (end != std::string_view::npos) return end + 1;
  size_t at = 0;
  while (at < piece.size() && at < 3 && (static_cast<unsigned char>(piece[at]) & 0xC0) == 0x80) ++at;
  return at;
}

std::vector<std::string> calibration_text(const CalibrationOptions& options) {
  const MappedFile file(options.text);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  const auto most = static_cast<size_t>(options.text_bytes);
  if (text.size() <= most) return {std::string(text)};
  std::vector<std::string> pieces;
  const size_t size = most / kTextPieces, rest = text.size() - size;
  for (size_t i = 0; i < kTextPieces; ++i) {
    std::string_view piece = text.substr(rest * i / (kTextPieces - 1), size);
    if (i > 0) piece.remove_prefix(first_line(piece));
    piece.remove_suffix(incomplete_utf8_tail(piece));
    pieces.emplace_back(piece);
  }
  return pieces;
}

CalibrationSamples calibration_samples(const std::string& model, const ModelSpec& spec,
                                       const CalibrationOptions& options) {
  if (options.samples < 1) throw Error(ErrorCode::bad_call, "calibrate", "--samples must be at least 1");
  check_observer(options.observer);
  const Tokenizer tokenizer = load_tokenizer(model);
  CalibrationSamples out;
  out.window = options.tokens > 0 ? options.tokens : std::min(kDefaultWindow, spec.max_positions);
  std::vector<int32_t> tokens;  // whole windows
  size_t longest = 0;
  const std::vector<std::string> pieces = calibration_text(options);
  for (const std::string& piece : pieces) {
    const std::vector<int32_t> encoded = tokenizer.encode(piece, &piece == &pieces.front(), false);
    longest = std::max(longest, encoded.size());
    tokens.insert(tokens.end(), encoded.begin(), encoded.end() - static_cast<int64_t>(encoded.size()) % out.window);
  }
  const int64_t windows = static_cast<int64_t>(tokens.size()) / out.window;
  if (windows == 0)
    throw Error(ErrorCode::bad_call, "calibrate",
                (pieces.size() > 1 ? "a piece of the text" : "the text") + std::string(" has ") + std::to_string(longest) +
                    " tokens, less than one sample of " + std::to_string(out.window),
                {.file = options.text});
  check_tokens(tokens, spec.vocab);
  const int64_t count = std::min(windows, options.samples);
  for (int64_t i = 0; i < count; ++i) {
    const auto first = tokens.begin() + i * windows / count * out.window;
    out.samples.emplace_back(first, first + out.window);
  }
  return out;
}

BlockRunner::BlockRunner(const Context& context, const Checkpoint& checkpoint, const ModelSpec& spec,
                         const CalibrationSamples& samples, const std::string& directory)
    : context_(context), spec_(spec), samples_(samples), hidden_(directory, samples.window * spec.hidden) {
  const TensorInfo& embedding = need_floats(checkpoint, spec.embedding + ".weight", {spec.vocab, spec.hidden});
  std::vector<float> rows(static_cast<size_t>(samples.window * spec.hidden));
  for (size_t s = 0; s < samples.samples.size(); ++s) {
    for (int64_t i = 0; i < samples.window; ++i)
      load_floats(embedding.data.data(), samples.samples[s][i] * spec.hidden, embedding.dtype,
                  std::span(rows).subspan(i * spec.hidden, spec.hidden));
    hidden_.write(static_cast<int64_t>(s), rows);
  }
}

BlockStatistics BlockRunner::statistics(int64_t layer, unsigned kinds) const {
  BlockStatistics statistics;
  for (const BlockInput& input : block_inputs(spec_, layer))
    statistics.try_emplace(std::string(input.tap), context_, input.columns, kinds);
  return statistics;
}

void BlockRunner::run(BlockWeights block, int64_t layer, BlockStatistics* statistics, bool advance, Pass progress) {
  DecoderModel model = {&context_, spec_, {}, ""};
  model.spec.layers = 1;
  model.spec.first_window_layer = std::max<int64_t>(0, spec_.first_window_layer - layer);
  model.weights.blocks.push_back(std::move(block));
  std::map<std::string, std::string, std::less<>> readers;  // tap -> first layer that reads it
  if (statistics != nullptr)
    for (const BlockInput& input : block_inputs(spec_, layer)) readers[std::string(input.tap)] = input.readers.front().name;

  KvCache cache(model.spec, KvType::f16, samples_.window);
  KvSequence sequence;
  Forward forward(model, cache);
  std::vector<float> hidden(static_cast<size_t>(samples_.window * spec_.hidden));
  const Tap tap = [&](const TapPoint& point) {
    if (const auto it = readers.find(point.op); it != readers.end())
      statistics->find(point.op)->second.add(point.data, point.rows, point.stride, it->second);
  };
  const auto count = static_cast<int64_t>(samples_.samples.size());
  for (int64_t s = 0; s < count; ++s) {
    if (!progress(static_cast<double>(s) / static_cast<double>(count)))
      throw Error(ErrorCode::interrupted, "calibrate", "interrupted");
    hidden_.read(s, hidden);
    cache.truncate(sequence, 0);
    cache.grow(sequence, samples_.window);
    std::vector<BatchRow> rows;
    for (int64_t i = 0; i < samples_.window; ++i) rows.push_back({samples_.samples[s][i], &sequence, i, false});
    forward.run_blocks(rows, hidden, readers.empty() ? Tap() : tap);
    if (advance) hidden_.write(s, hidden);
  }
}

std::map<std::string, std::vector<int32_t>> calibrate_outliers(const Context& context, const Checkpoint& checkpoint, const ModelSpec& spec,
                                                               const CalibrationOptions& options, const std::map<std::string, float>& thresholds,
                                                               const std::string& scratch_directory, const Progress& progress) {
  const CalibrationSamples samples = calibration_samples(checkpoint.directory(), spec, options);
  BlockRunner runner(context, checkpoint, spec, samples, scratch_directory);
  std::map<std::string, std::vector<int32_t>> columns;
  for (int64_t layer = 0; layer < spec.layers; ++layer) {
    BlockStatistics statistics = runner.statistics(layer, kChannelStatistics);
    runner.run(load_block(context, checkpoint, spec, layer), layer, &statistics, true, [&](double done) {
      if (!progress || progress((static_cast<double>(layer) + done) / static_cast<double>(spec.layers), "calibrating")) return true;
      throw Error(ErrorCode::interrupted, "calibrate", "interrupted; the search for large columns starts over when the command is given again");
    });
    for (const BlockInput& input : block_inputs(spec, layer)) {
      const std::vector<float>& largest = statistics.find(input.tap)->second.channel_amax();
      for (const LinearSpec& linear : input.readers) {
        const auto threshold = thresholds.find(linear.name);
        if (threshold == thresholds.end()) continue;
        for (size_t c = 0; c < largest.size(); ++c)
          if (largest[c] >= threshold->second) columns[linear.name].push_back(static_cast<int32_t>(c));
      }
    }
  }
  return columns;
}

}  // namespace codecllm
