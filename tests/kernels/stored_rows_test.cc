// SPDX-License-Identifier: Apache-2.0
// Weights that stay in rows, as files have them: every tier lays them out as the plain loops do, and they give the rows and
// products of the same weights in the kernels' order, bit for bit.
#include <gtest/gtest.h>

#include <cstring>

#include "base/rng.h"
#include "kernels/product.h"
#include "kernels/transient_panels.h"

namespace codecllm {
namespace {

// How a file has them: floats as they are, codes one a byte, or in words.
enum class Form { floats, bytes, words };

struct StoredCase {
  Element element;
  Form form;
};

// The same weights twice; `file` begins on an odd address and ends where the last row does.
struct StoredPair {
  std::vector<uint8_t> file;
  Matrix plain, mapped;
};

StoredPair stored_pair(const StoredCase& c, int64_t rows, int64_t columns, int64_t group, bool zeros, Rng& rng) {
  const int bits = traits(c.element).bits;
  const int64_t row_bytes = c.form == Form::words ? (columns * bits + 31) / 32 * 4 : columns * (c.form == Form::bytes ? 1 : bits / 8);
  StoredPair out = {.file = std::vector<uint8_t>(static_cast<size_t>(rows * row_bytes + 1)),
              .plain = Matrix(c.element, rows, columns, group, ScaleType::bf16), .mapped = {}};
  uint8_t* data = out.file.data() + 1;
  const bool flipped = c.form == Form::bytes && is_integer(c.element);
  out.mapped = Matrix::from_rows({data, row_bytes, static_cast<uint8_t>(flipped ? 0x80 : 0)}, c.element, rows, columns, group, ScaleType::bf16);
  for (Matrix* m : {&out.plain, &out.mapped})
    if (zeros) m->add_zeros();
  std::vector<int8_t> codes(static_cast<size_t>(rows * columns));
  for (int64_t n = 0; n < rows; ++n) {
    uint8_t* row = data + n * row_bytes;
    int8_t* own = codes.data() + n * columns;
    for (int64_t k = 0; k < columns; ++k) {
      own[k] = static_cast<int8_t>(rng.below(256));
      if (is_float8(c.element)) own[k] = static_cast<int8_t>(own[k] & 0xBB);  // finite
      if (bits == 4) own[k] = static_cast<int8_t>(own[k] >> 4);
      if (c.form != Form::floats) continue;
      const auto value = static_cast<float>(rng.normal());
      uint32_t word;
      std::memcpy(&word, &value, 4);
      if (c.element == Element::bf16) word >>= 16;
      if (c.element == Element::f16) word = static_cast<uint32_t>(rng.below(0x7C00)) | static_cast<uint32_t>(rng.below(2) << 15);
      std::memcpy(row + k * bits / 8, &word, static_cast<size_t>(bits / 8));
    }
    if (c.form == Form::bytes) std::memcpy(row, own, static_cast<size_t>(columns));
    if (c.form == Form::words) {
      std::vector<uint32_t> words(static_cast<size_t>(row_bytes / 4));
      for (int64_t k = 0; k < columns; ++k) words[k * bits / 32] |= static_cast<uint32_t>(own[k] + traits(c.element).offset) << k * bits % 32;
      std::memcpy(row, words.data(), static_cast<size_t>(row_bytes));
    }
    for (int64_t g = 0; is_scaled(c.element) && g < out.plain.view().groups(); ++g) {
      const auto scale = static_cast<float>(rng.uniform() + 0.1);
      const int zero = static_cast<int>(rng.below(7)) - 3;
      for (Matrix* m : {&out.plain, &out.mapped}) {
        m->set_scale(n, g, scale);
        if (zeros) m->set_zero(n, g, zero);
      }
    }
  }
  for (int64_t panel = 0; panel < out.plain.view().panels(); ++panel) {
    std::vector<const void*> float_rows;
    std::vector<const int8_t*> code_rows;
    for (int64_t n = panel * kPanelRows; n < std::min(rows, (panel + 1) * kPanelRows); ++n) {
      float_rows.push_back(data + n * row_bytes);
      code_rows.push_back(codes.data() + n * columns);
    }
    if (c.form == Form::floats) {
      out.plain.set_panel(panel, float_rows, c.element == Element::f32 ? DType::f32 : c.element == Element::f16 ? DType::f16 : DType::bf16);
    } else {
      out.plain.set_panel(panel, code_rows);
    }
  }
  return out;
}

constexpr StoredCase kStoredCases[] = {{Element::f32, Form::floats}, {Element::f16, Form::floats}, {Element::bf16, Form::floats}, {Element::e4m3, Form::bytes},
                           {Element::e5m2, Form::bytes}, {Element::u8, Form::bytes},   {Element::u8, Form::words},    {Element::u4, Form::words}};

class StoredRowsTier : public ::testing::TestWithParam<Isa> {};

TEST_P(StoredRowsTier, RowsAndProductsAreThoseOfThePlainMatrix) {
  Rng rng(1);
  for (const StoredCase& c : kStoredCases)
    for (const auto& [rows, columns, group] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1}, {16, 64, 64}, {17, 33, 33}, {48, 160, 32}, {37, 331, 64}, {80, 514, 514}}) {
      const bool grouped = group != columns, zeros = is_integer(c.element) && rows != 17;
      if (grouped && !is_scaled(c.element)) continue;
      const StoredPair pair = stored_pair(c, rows, columns, group, zeros, rng);
      const std::string what = std::to_string(static_cast<int>(c.element)) + ": " + std::to_string(rows) + "x" + std::to_string(columns);
      EXPECT_EQ(pair.mapped.mapped_bytes(), pair.file.size() - 1);
      EXPECT_EQ(pair.plain.mapped_bytes(), 0u);
      EXPECT_EQ(pair.mapped.bytes() - pair.mapped.mapped_bytes(), pair.plain.bytes() - pair.plain.view().panels() * pair.plain.view().panel_bytes());
      std::vector<uint8_t> slow(made_bytes(pair.mapped.view())), fast(slow.size());
      for (int64_t panel = 0; panel < pair.mapped.view().panels(); ++panel) {
        std::fill(slow.begin(), slow.end(), 0x55);
        std::fill(fast.begin(), fast.end(), 0xAA);
        make_panel(kernels_for(Isa::reference), pair.mapped.view(), panel, slow.data());
        make_panel(kernels_for(GetParam()), pair.mapped.view(), panel, fast.data());
        ASSERT_EQ(fast, slow) << what;
      }
      std::vector<float> a(columns), b(columns);
      for (int64_t row = 0; row < rows; ++row) {
        read_row(pair.plain.view(), row, a.data());
        read_row(pair.mapped.view(), row, b.data(), kernels_for(GetParam()));
        ASSERT_EQ(a, b) << what;
      }
      const int64_t stride = round_up(columns, kColumnPadding);
      for (int64_t batch : {1, 2, 7}) {
        std::vector<float> x(batch * stride, 0.0f);
        for (int64_t m = 0; m < batch; ++m)
          for (int64_t k = 0; k < columns; ++k) x[m * stride + k] = static_cast<float>(rng.normal());
        ASSERT_EQ(product_of(GetParam(), pair.mapped, x, stride, batch, 2), product_of(GetParam(), pair.plain, x, stride, batch, 1)) << what << " batch " << batch;
      }
    }
}

INSTANTIATE_TEST_SUITE_P(, StoredRowsTier, ::testing::ValuesIn(available_isas()),
                         [](const auto& tier) { return std::string(isa_name(tier.param)); });

}  // namespace
}  // namespace codecllm
