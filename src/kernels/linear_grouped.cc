// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear_grouped.h"

#include <algorithm>
#include <string>

#include "codecllm/error.h"
#include "kernels/linear_outliers.h"

namespace codecllm {

namespace {

void check_count(size_t expert, int64_t count, int64_t capacity) {
  if (count < 0 || count > capacity)
    throw Error(ErrorCode::bad_call, "grouped product",
                "expert " + std::to_string(expert) + " has " + std::to_string(count) + " rows; give 0 to " + std::to_string(capacity));
}

bool takes_alike(const MatrixView& a, const MatrixView& b) {
  return a.element == b.element && a.columns == b.columns && (a.group == b.group || !is_scaled(a.element)) && a.activation == b.activation;
}

class GroupedProduct {
 public:
  GroupedProduct(ThreadPool& pool, const KernelTable& kernels, GroupedScratch& scratch, const float* x, int64_t x_stride,
                 std::span<const MatrixView* const> experts, std::span<const RowSegment> segments)
      : pool_(pool), kernels_(kernels), scratch_(scratch), x_(x), x_stride_(x_stride), experts_(experts), segments_(segments), w_(*experts[0]) {}

  // The inputs of all experts, in one parallel region.
  void prepare() {
    int64_t rows = 0;
    for (const RowSegment& s : segments_) rows += s.rows;
    scratch_.inputs.assign(experts_.size(), {});
    scratch_.given.assign(experts_.size(), 0.0f);
    scratch_.pieces.clear();
    if (is_integer(w_.element)) {
      place_integers(integer_room(scratch_.linear.integers, rows, w_));
    } else if (is_float8(w_.element)) {
      place_float8(rows);
    } else {
      place_floats(rows);
    }
    pool_.parallel_for(scratch_.pieces.size(), 1, [&](size_t begin, size_t end, int) {
      for (size_t i = begin; i < end; ++i) put(scratch_.pieces[i]);
    });
  }

  // The products of all experts, in one parallel region; those of many rows first, so that none of them comes last.
  void run(float* y, int64_t y_stride) {
    int64_t panels = 0;
    for (size_t e = 0; e < experts_.size(); ++e)
      if (segments_[e].rows > 0) panels += experts_[e]->panels();
    const int64_t grain = panel_grain(scratch_.linear, panels, pool_.threads());
    scratch_.pieces.clear();
    for (size_t e = 0; e < experts_.size(); ++e) {
      if (segments_[e].rows == 0) continue;
      scratch_.linear.panels.fit(*experts_[e], pool_.threads());
      for (int64_t p = 0; p < experts_[e]->panels(); p += grain) scratch_.pieces.push_back({e, p, std::min(p + grain, experts_[e]->panels())});
    }
    std::ranges::sort(scratch_.pieces, [&](const Piece& a, const Piece& b) {
      const int64_t rows_a = segments_[a.expert].rows, rows_b = segments_[b.expert].rows;
      return rows_a != rows_b ? rows_a > rows_b : a.expert != b.expert ? a.expert < b.expert : a.begin < b.begin;
    });
    pool_.parallel_for(scratch_.pieces.size(), 1, [&](size_t begin, size_t end, int worker) {
      for (size_t i = begin; i < end; ++i) {
        const Piece& piece = scratch_.pieces[i];
        float* to = y + segments_[piece.expert].first * y_stride;
        multiply(kernels_, *experts_[piece.expert], scratch_.inputs[piece.expert], scratch_.linear.panels.of(worker), to, y_stride, piece.begin, piece.end);
      }
    });
  }

 private:
  using Piece = GroupedScratch::Piece;

  const float* rows_of(size_t e) const { return x_ + segments_[e].first * x_stride_; }

  // body(expert, place of its first row among all rows that are there), for experts with rows.
  void for_experts(FunctionRef<void(size_t expert, int64_t place)> body) {
    int64_t place = 0;
    for (size_t e = 0; e < segments_.size(); ++e) {
      scratch_.inputs[e].rows = segments_[e].rows;
      if (segments_[e].rows > 0) body(e, place);
      place += segments_[e].rows;
    }
  }

  void add_pieces(size_t expert, int64_t most) {
    const int64_t rows = segments_[expert].rows;
    for (int64_t t = 0; t < tile_count(rows, most); ++t) {
      const RowTile tile = tile_at(rows, most, t);
      scratch_.pieces.push_back({expert, tile.first, tile.first + tile.rows});
    }
  }

  void place_integers(const IntActivations& all) {
    IntegerScratch& room = scratch_.linear.integers;
    for_experts([&](size_t e, int64_t place) {
      IntActivations& own = scratch_.inputs[e].integers;
      own = all;
      own.rows = segments_[e].rows;
      own.codes += place * all.row_bytes;
      own.scale += place;
      own.sums += place * w_.groups() * all.halves;
      if (own.zeros != nullptr) own.zeros += place;
      scratch_.given[e] = given_scale(pool_, kernels_, room.scales, rows_of(e), x_stride_, own.rows, w_);
      add_pieces(e, kernels_.tile_rows(all.halves));
    });
  }

  void place_float8(int64_t rows) {
    const int64_t most = kernels_.float_tile_rows(w_.element);
    const bool in_place = w_.activation.mode == ActivationMode::a16 && as_they_are(kernels_, w_.element, rows);
    float8_ = in_place ? ScaledActivations{x_, rows, x_stride_, nullptr, 1} : float8_room(kernels_, scratch_.linear, rows, w_);
    for_experts([&](size_t e, int64_t place) {
      ScaledActivations& own = scratch_.inputs[e].scaled;
      own = float8_;
      own.rows = segments_[e].rows;
      own.x += (in_place ? segments_[e].first : place) * own.stride;
      if (in_place) return;
      if (own.scales != nullptr) own.scales += place * own.groups;
      scratch_.given[e] = given_scale(pool_, kernels_, scratch_.linear.group_scales, rows_of(e), x_stride_, own.rows, w_);
      add_pieces(e, most);
    });
  }

  void place_floats(int64_t rows) {
    std::vector<float>& tiles = scratch_.linear.tiles;
    tiles.resize(std::max(tiles.size(), static_cast<size_t>(rows * w_.columns)));
    const int64_t most = kernels_.float_tile_rows(w_.element);
    for_experts([&](size_t e, int64_t place) {
      const bool in_place = as_they_are(kernels_, w_.element, segments_[e].rows);
      scratch_.inputs[e].floats = in_place ? FloatRows{rows_of(e), x_stride_} : FloatRows{tiles.data() + place * w_.columns, w_.columns};
      if (!in_place) add_pieces(e, most);
    });
  }

  void put(const Piece& piece) {
    const LinearInputs& in = scratch_.inputs[piece.expert];
    const float* x = rows_of(piece.expert) + piece.begin * x_stride_;
    const int64_t rows = piece.end - piece.begin;
    if (is_integer(w_.element)) {
      const int64_t place = in.integers.scale - scratch_.linear.integers.scales.data() + piece.begin;
      put_integers(kernels_, scratch_.linear.integers, w_, x, x_stride_, rows, place, scratch_.given[piece.expert]);
    } else if (is_float8(w_.element)) {
      const int64_t place = (in.scaled.x - float8_.x) / in.scaled.stride + piece.begin;
      put_float8(kernels_, scratch_.linear, float8_, w_, x, x_stride_, rows, place, scratch_.given[piece.expert]);
    } else {
      const int64_t place = (in.floats.x - scratch_.linear.tiles.data()) / w_.columns + piece.begin;
      put_floats(kernels_, w_.element, x, x_stride_, rows, w_.columns, scratch_.linear.tiles.data() + place * w_.columns);
    }
  }

  ThreadPool& pool_;
  const KernelTable& kernels_;
  GroupedScratch& scratch_;
  const float* x_;
  int64_t x_stride_;
  std::span<const MatrixView* const> experts_;
  std::span<const RowSegment> segments_;
  const MatrixView& w_;  // the first, whose like all are
  ScaledActivations float8_ = {};  // rows of all experts
};

}  // namespace

std::vector<RowSegment> contiguous_layout(std::span<const int64_t> counts) {
  std::vector<RowSegment> segments;
  int64_t first = 0;
  for (size_t e = 0; e < counts.size(); ++e) {
    check_count(e, counts[e], INT64_MAX - first);
    segments.push_back({first, counts[e]});
    first += counts[e];
  }
  return segments;
}

std::vector<RowSegment> masked_layout(std::span<const int64_t> counts, int64_t capacity) {
  std::vector<RowSegment> segments;
  for (size_t e = 0; e < counts.size(); ++e) {
    check_count(e, counts[e], capacity);
    segments.push_back({static_cast<int64_t>(e) * capacity, counts[e]});
  }
  return segments;
}

void linear_grouped(ThreadPool& pool, const KernelTable& kernels, GroupedScratch& scratch, const float* x, int64_t x_stride,
                    std::span<const MatrixView* const> experts, std::span<const RowSegment> segments, float* y, int64_t y_stride) {
  if (experts.size() != segments.size())
    throw Error(ErrorCode::bad_call, "grouped product",
                std::to_string(segments.size()) + " segments of rows for " + std::to_string(experts.size()) + " experts; give as many");
  if (experts.empty()) return;
  const bool together = std::ranges::all_of(experts, [&](const MatrixView* w) {
    return takes_alike(*experts[0], *w) && w->order == nullptr && !has_outliers(*w);
  });
  if (together) {
    GroupedProduct product(pool, kernels, scratch, x, x_stride, experts, segments);
    product.prepare();
    product.run(y, y_stride);
    return;
  }
  for (size_t e = 0; e < experts.size(); ++e) {
    const LinearOut out = {experts[e], y + segments[e].first * y_stride, y_stride};
    linear(pool, kernels, scratch.linear, x + segments[e].first * x_stride, x_stride, segments[e].rows, {&out, 1});
  }
}

}  // namespace codecllm
