// SPDX-License-Identifier: Apache-2.0
// What text filters and string methods share.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/runtime.h"

namespace codecllm::jinja {

// Without characters among `what` at its ends; without whitespace when `what` is not given.
std::string_view strip(std::string_view text, const std::optional<std::string>& what, bool left, bool right);

// The first `limit` occurrences replaced; all of them when it is negative.
std::string replace(Runtime& r, const std::string& text, const std::string& from, const std::string& to,
                    int64_t limit);

// At `separator`, or at runs of whitespace when it is not given; at most `limit` times unless negative.
std::vector<Value> split(Runtime& r, std::string_view text, const std::optional<std::string>& separator,
                         int64_t limit);

std::string capitalize(const std::string& text);

// Upper case after each of the characters of `borders`; when it is empty, after everything that is no letter.
std::string title(const std::string& text, std::string_view borders);

}  // namespace codecllm::jinja
