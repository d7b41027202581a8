// SPDX-License-Identifier: Apache-2.0
// The alphabet of byte-level tokenizers: every byte is one printable character.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace codecllm::text {

// How GPT-2 cuts text into words before merging.
inline constexpr std::string_view gpt2_expression =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

char32_t byte_to_character(unsigned char byte);
std::optional<unsigned char> character_to_byte(char32_t code);

std::string bytes_to_characters(std::string_view bytes);

}  // namespace codecllm::text
