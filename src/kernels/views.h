// SPDX-License-Identifier: Apache-2.0
// What kernels see: plain data, no ownership, nothing but built-in types (this header is compiled for every ISA tier).
//
// A weight [rows, columns] is stored in panels of 16 rows, so that one vector lane is one row: a product needs no
// horizontal sum, and one pass over the weights serves one activation row or many. A panel is a sequence of 64-byte
// lines, each holding the next few columns of all 16 rows; within a line, by element type:
//   f32   1 column   float    [16 rows]
//   f16   2 columns  uint16   [2 columns][16 rows]
//   bf16  2 columns  uint16   [16 rows][2 columns]
//   e4m3, e5m2
//         4 columns  uint8    [2 pairs][16 rows][2 columns]
//   u8    4 columns  uint8    [16 rows][4 columns]            code + 128
//   u4    8 columns  uint8    [16 rows][4 bytes]              code + 8; byte j: low nibble column j, high nibble column j + 4
// Rows and columns beyond the matrix are zero (for integers: any code; their scale or their activation is zero).
#pragma once

#include <stdint.h>

#include "codec/coded_view.h"

// An inline function that the linker may share between tiers could be kept in its AVX-512 form and crash an older CPU;
// so what this header defines is always inlined.
#define CODECLLM_INLINE inline __attribute__((always_inline))

namespace codecllm {

constexpr int64_t kPanelRows = 16;
constexpr int64_t kLineBytes = 64;
// Activation rows are padded with zeros to a multiple of this, so that every line finds its columns.
constexpr int64_t kColumnPadding = 8;

enum class Element : uint8_t {
#define ELEMENT(id, bits, line_columns, offset) id,
#include "kernels/element.def"
#undef ELEMENT
};

struct ElementTraits {
  int bits;
  int line_columns;  // columns in one 64-byte line
  int offset;        // integers: what is added to a code to store it unsigned; 0 for floating point
};

constexpr ElementTraits kElementTraits[] = {
#define ELEMENT(id, bits, line_columns, offset) {bits, line_columns, offset},
#include "kernels/element.def"
#undef ELEMENT
};

CODECLLM_INLINE constexpr const ElementTraits& traits(Element element) { return kElementTraits[static_cast<int>(element)]; }
CODECLLM_INLINE constexpr bool is_integer(Element element) { return traits(element).offset != 0; }
// Codes that a scale belongs to.
CODECLLM_INLINE constexpr bool is_scaled(Element element) { return traits(element).bits <= 8; }
CODECLLM_INLINE constexpr bool is_float8(Element element) { return is_scaled(element) && !is_integer(element); }
// Whose values BF16 holds exactly, so that a tier with products of BF16 pairs multiplies them so (put_pairs).
CODECLLM_INLINE constexpr bool fits_bf16(Element element) { return element == Element::bf16 || is_float8(element); }
CODECLLM_INLINE constexpr int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

enum class ScaleType : uint8_t { f32, bf16, f16 };
CODECLLM_INLINE constexpr int64_t scale_bytes(ScaleType type) { return type == ScaleType::f32 ? 4 : 2; }

// How a product takes its activations: as 16-bit integers (integer weights) or as they are (8-bit floats), or rounded to
// 8 bits of the weight's kind with one scale per row (token), one for all rows of a call, one that is given, or, floats
// only, one per row and group of the weight.
enum class ActivationMode : uint8_t { a16, a8_token, a8_tensor, a8_fixed, a8_group };

struct ActivationScheme {
  ActivationMode mode = ActivationMode::a16;
  float scale = 0;      // a8_fixed: x = scale * (code - zero)
  // Integers, one scale per row or a given one: codes cover the row's range from the lowest to the highest value, 0 included.
  bool asymmetric = false;
  int zero = 0;         // a8_fixed, asymmetric: the code of 0, in [-127, 127]
  // Integers with one scale per row: where it is not 0, columns in which an input of the call reaches it are multiplied
  // in 16 bits (LLM.int8(), Dettmers et al. 2022, section 3.2).
  float threshold = 0;

  bool operator==(const ActivationScheme&) const = default;
};

struct OutlierView;

// Weights where a mapped file has them, row after row as safetensors: floats and 8-bit floats as they are, 8-bit integers one a
// byte, 4-bit ones eight to a word of 32 bits, the first in its lowest bits. No alignment.
struct StoredRows {
  const uint8_t* data;
  int64_t row_bytes;
  uint8_t flip;  // xor of each byte, to unsigned codes: 0x80 where the file's are signed, else 0

  CODECLLM_INLINE const uint8_t* row(int64_t index) const { return data + index * row_bytes; }
};

struct MatrixView {
  Element element;
  ScaleType scale_type;
  int64_t rows, columns;
  int64_t group;         // columns that share a scale; = columns for one scale per row; unused for plain floats
  const uint8_t* data;   // [panels][lines][64 bytes]
  const void* scales;    // [panels][groups][16 rows], null for plain floats
  // Integers: the unsigned code that stands for 0, [panels][groups][16 rows]; null: the element's offset everywhere.
  const uint8_t* zeros = nullptr;
  // Column k of the data is input order[k], so that columns of a group stand together; null: in their own order.
  const int32_t* order = nullptr;  // [columns]
  ActivationScheme activation = {};  // integers and 8-bit floats
  // In the place of data, which is then null: entropy-coded panels of the same lines, or rows of a file.
  const CodedView* coded = nullptr;
  const StoredRows* stored = nullptr;
  // Of codes less what stands for 0, over each group, [panels][groups][16 rows]; for asymmetric activations.
  const int32_t* code_sums = nullptr;
  const OutlierView* outliers = nullptr;  // columns that are elsewhere: their codes stand for 0

  CODECLLM_INLINE int64_t panels() const { return (rows + kPanelRows - 1) / kPanelRows; }
  CODECLLM_INLINE int64_t groups() const { return (columns + group - 1) / group; }
  CODECLLM_INLINE int64_t lines() const { return (columns + traits(element).line_columns - 1) / traits(element).line_columns; }
  CODECLLM_INLINE int64_t panel_bytes() const { return lines() * kLineBytes; }
};

// Columns of a matrix of integers that are held in floating point.
struct OutlierView {
  const int32_t* columns;  // [weight.columns], ascending
  MatrixView weight;       // [rows of the matrix, columns]
};

// Activation rows as integers, in one of two precisions by `halves`:
//   2  x = scale * (256 * high + low) with high and low in [-128, 127]: exact to 1/32512 of the row's largest value,
//      which is closer than BF16 for all but values 128 times below it
//   1  x = scale * code with code in [-127, 127]
// Rows lie in tiles (tile_at); a tile's rows are interleaved by units of four columns, in the order in which a product
// of the whole tile reads them. The bytes within a unit are private to the tier that wrote them.
struct IntActivations {
  int64_t rows;
  int64_t halves;
  int64_t row_bytes;        // halves * round_up(columns, kColumnPadding)
  const uint8_t* codes;     // per tile [units][rows of the tile][4 * halves bytes]
  const float* scale;       // [rows]
  const int32_t* sums;      // [rows, groups, halves]: over each group, of high and of low, or of the codes
  const int32_t* zeros = nullptr;  // [rows], INT8 only: x = scale * (code - zero); null: 0

  CODECLLM_INLINE int64_t unit_bytes() const { return 4 * halves; }
};

struct RowTile {
  int64_t first, rows;
};
// Tile `index` of `rows` rows cut into the fewest tiles of at most `most`, as even as can be.
CODECLLM_INLINE constexpr int64_t tile_count(int64_t rows, int64_t most) { return (rows + most - 1) / most; }
CODECLLM_INLINE constexpr RowTile tile_at(int64_t rows, int64_t most, int64_t index) {
  const int64_t tiles = tile_count(rows, most), base = rows / tiles, larger = rows % tiles;
  return {index * base + (index < larger ? index : larger), base + (index < larger ? 1 : 0)};
}

// Activation rows of one tile that are to be integers.
struct ActivationRows {
  const float* x;  // [rows, stride]
  int64_t stride, rows, columns, group, halves;
  float scale;     // given; 0: the row's own, which maps its largest value to code_limit(halves)
};

// What they become. A given scale clamps codes to the limit. A row with NaN or Inf has the scale NaN, so that the product is
// NaN and is found where it arises.
struct IntegerRows {
  uint8_t* codes;  // the tile
  float* scales;   // [rows]
  int32_t* sums;   // [rows, groups, halves]
  // [rows], INT8 only: x = scale * (code - zero), codes in [-127, 127]; given where the scale is given, else written:
  //   scale = (high - low) / 254, zero = round(-127 - low / scale), low <= 0 <= high the row's extremes. Null: none.
  int32_t* zeros;
};

// Activation rows for products with 8-bit floats: plain (scales null), or values of an 8-bit float type with a scale for
// each group of columns. Several rows lie in tiles (tile_at) of a tier's float_tile_rows, a tile's rows interleaved.
struct ScaledActivations {
  const float* x;          // tile at x + first * stride: [columns][rows of the tile], zero behind the last column up to
                           // round_up(columns, kColumnPadding)
  int64_t rows, stride;
  const float* scales;     // [rows, groups]
  int64_t groups;          // 1, or the weight's
};

// Largest row length of integer products: 255 * 128 * 65536 stays below 2^31.
constexpr int64_t kMaxIntColumns = 65536;
constexpr int64_t kMaxTileRows = 12;  // of any tier
constexpr float kActivationLimit = 32512.0f;  // of 16-bit codes
constexpr float kByteLimit = 127.0f;          // of INT8 codes
constexpr float kByteSteps = 254.0f;          // from the lowest INT8 code to the highest
CODECLLM_INLINE constexpr float code_limit(int64_t halves) { return halves == 2 ? kActivationLimit : kByteLimit; }
// A row whose largest value is below this counts as zero: its scale's reciprocal would overflow.
constexpr float kSmallestActivation = 1e-30f;

enum class KvType : uint8_t { f32, f16, i8, e4m3 };
// Codes that a scale belongs to: x = scale * code, the scale that of the largest magnitude over kv_limit.
CODECLLM_INLINE constexpr bool is_scaled(KvType type) { return type == KvType::i8 || type == KvType::e4m3; }
CODECLLM_INLINE constexpr int64_t kv_bytes(KvType type) { return type == KvType::f32 ? 4 : type == KvType::f16 ? 2 : 1; }
CODECLLM_INLINE constexpr float kv_limit(KvType type) { return type == KvType::i8 ? kByteLimit : 448.0f; }

// Keys and values of one layer live in blocks of kKvBlock tokens. Within a block, for each KV head:
//   keys   [kKvBlock / 16][head_dim][16 tokens]   one lane is one token
//   values [kKvBlock][head_dim]
// but for i8, whose products take two codes at once (an odd head_dim has one more, of any value)
//   keys   [kKvBlock / 16][head_dim / 2][16 tokens][2 dimensions]
//   values [kKvBlock / 2][head_dim][2 tokens]
// and, for i8 and e4m3, behind either: float scales [kKvBlock], one per token.
// Kernels read values sixteen at a time, so both arrays end with 64 bytes of slack.
constexpr int64_t kKvBlock = 64;
constexpr int64_t kKvLanes = 16;

struct KvView {
  KvType type;
  int64_t heads, head_dim;
  uint8_t* keys;      // [blocks][heads][head_bytes]
  uint8_t* values;    // [blocks][heads][head_bytes]

  CODECLLM_INLINE int64_t pairs() const { return (head_dim + 1) / 2; }
  CODECLLM_INLINE int64_t key_index(int64_t slot, int64_t d) const {  // of an element, within a head of a block
    const int64_t group = slot / kKvLanes, lane = slot % kKvLanes;
    return type == KvType::i8 ? ((group * pairs() + d / 2) * kKvLanes + lane) * 2 + d % 2 : (group * head_dim + d) * kKvLanes + lane;
  }
  CODECLLM_INLINE int64_t value_index(int64_t slot, int64_t d) const {
    return type == KvType::i8 ? (slot / 2 * head_dim + d) * 2 + slot % 2 : slot * head_dim + d;
  }
  CODECLLM_INLINE int64_t code_bytes() const { return kKvBlock * (type == KvType::i8 ? 2 * pairs() : head_dim * kv_bytes(type)); }
  CODECLLM_INLINE int64_t head_bytes() const { return code_bytes() + (is_scaled(type) ? kKvBlock * 4 : 0); }
  CODECLLM_INLINE int64_t block_bytes() const { return heads * head_bytes(); }
};

// Query rows at consecutive positions of one sequence, against its cache: row i attends to the slots
// [max(0, count + i - window), count + i), all of them written. A row's result does not depend on the other rows.
struct AttentionTile {
  const float* query;      // row i at query + i * stride: [query heads of one KV head][head_dim], already rotated
  float* out;              // likewise
  int64_t stride;
  int64_t rows;
  int64_t query_heads;     // query heads that share the KV head
  int64_t kv_head;
  const int32_t* blocks;   // block indices of the sequence, in order
  int64_t count;           // slots up to and with the first row's own
  int64_t window;          // 0: all slots
  float scale;             // usually 1 / sqrt(head_dim)
  float* scratch;          // [attention_scratch]

  CODECLLM_INLINE int64_t first(int64_t row) const { return window > 0 && count + row > window ? count + row - window : 0; }
};

// Queries of one tile that share what is read of the cache: enough to pay for widening it, few enough for the caches.
constexpr int64_t kAttentionQueries = 64;
CODECLLM_INLINE constexpr int64_t attention_rows(int64_t query_heads) {
  return query_heads < kAttentionQueries ? kAttentionQueries / query_heads : 1;
}
// Floats: one block of keys and values; for each query a block's scores, 22 words, and its 16-bit codes; and slack.
CODECLLM_INLINE constexpr int64_t attention_scratch(int64_t queries, int64_t head_dim) {
  return (22 + kKvBlock + (head_dim + 1) / 2) * queries + 2 * kKvBlock * head_dim + 32;
}

}  // namespace codecllm
