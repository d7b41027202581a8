// SPDX-License-Identifier: Apache-2.0
#include "model/arch/rope_config.h"

#include <algorithm>
#include <cmath>

namespace codecllm {

// One positive number for each frequency.
static std::vector<double> read_factors(const Json& scaling, const char* key, int64_t frequencies, const std::string& file) {
  std::vector<double> factors;
  if (const auto it = scaling.find(key); it != scaling.end() && it->is_array())
    for (const Json& factor : *it) factors.push_back(factor.is_number() ? factor.get<double>() : 0);
  const bool good = std::all_of(factors.begin(), factors.end(), [](double f) { return f > 0 && std::isfinite(f); });
  if (!good || static_cast<int64_t>(factors.size()) != frequencies)
    throw Error(ErrorCode::bad_input, "config",
                std::string(key) + " must be a list of " + std::to_string(frequencies) + " positive numbers", {.file = file});
  return factors;
}

// Rotations of a part of each head: Hugging Face's classes of these families do not run them either.
static void refuse_partial(const Json& config, const std::string& file) {
  if (json_or<double>(config, "partial_rotary_factor", 1.0, file) != 1.0)
    throw Error(ErrorCode::unsupported, "config", "a partial_rotary_factor other than 1 is not in this version", {.file = file});
}

static void read_scaling(RopeSpec& rope, const Json& scaling, const std::string& file) {
  for (const auto& [key, value] : scaling.items())
    if (value.is_object())
      throw Error(ErrorCode::unsupported, "config",
                  "a rotation of its own for '" + key + "' layers is not in this version", {.file = file});
  refuse_partial(scaling, file);
  rope.type = json_find<std::string>(scaling, "rope_type", file)
                  .value_or(json_or<std::string>(scaling, "type", "default", file));
  rope.base = json_or<double>(scaling, "rope_theta", rope.base, file);
  rope.factor = json_or<double>(scaling, "factor", 1.0, file);
  rope.original_positions = json_or<double>(scaling, "original_max_position_embeddings", rope.original_positions, file);
  rope.low_freq_factor = json_or<double>(scaling, "low_freq_factor", 1.0, file);
  rope.high_freq_factor = json_or<double>(scaling, "high_freq_factor", 4.0, file);
  rope.beta_fast = json_or<double>(scaling, "beta_fast", 32.0, file);
  rope.beta_slow = json_or<double>(scaling, "beta_slow", 1.0, file);
  rope.truncate = json_or<bool>(scaling, "truncate", true, file);
  if (rope.type != "default" && rope.type != "linear" && rope.type != "dynamic" && rope.type != "llama3" &&
      rope.type != "yarn" && rope.type != "longrope")
    throw Error(ErrorCode::unsupported, "config", "rope scaling '" + rope.type + "' is not in this version",
                {.file = file});
  if (rope.type == "longrope") {
    // LongRoPE (Ding et al. 2024); the attention's factor is that of Phi-3's code.
    rope.short_factors = read_factors(scaling, "short_factor", rope.rotary / 2, file);
    rope.long_factors = read_factors(scaling, "long_factor", rope.rotary / 2, file);
    const double fallback = rope.factor <= 1 ? 1.0 : std::sqrt(1 + std::log(rope.factor) / std::log(rope.original_positions));
    rope.attention_factor = json_or<double>(scaling, "attention_factor", fallback, file);
  }
  if (rope.type == "yarn") {
    // YaRN (Peng et al. 2023, section 3.4), with DeepSeek's two mscale keys.
    const auto mscale = [&](double m) { return rope.factor <= 1 ? 1.0 : 0.1 * m * std::log(rope.factor) + 1.0; };
    const double top = json_or<double>(scaling, "mscale", 0.0, file);
    const double bottom = json_or<double>(scaling, "mscale_all_dim", 0.0, file);
    const double fallback = top != 0 && bottom != 0 ? mscale(top) / mscale(bottom) : mscale(1.0);
    rope.attention_factor = json_or<double>(scaling, "attention_factor", fallback, file);
  }
}

RopeSpec read_rope(const Json& config, int64_t rotary, int64_t max_positions, const std::string& file) {
  refuse_partial(config, file);
  RopeSpec rope;
  rope.base = json_or<double>(config, "rope_theta", 10000.0, file);
  rope.original_positions =
      json_or<double>(config, "original_max_position_embeddings", static_cast<double>(max_positions), file);
  rope.rotary = rotary;
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const auto it = config.find(key);
    if (it == config.end() || it->is_null()) continue;
    if (!it->is_object()) throw_json_type(key, "an object", *it, file);
    read_scaling(rope, *it, file);
  }
  const bool good = rope.base > 0 && rope.factor > 0 && rope.original_positions > 0 && rope.attention_factor > 0 &&
                    rope.beta_fast > 0 && rope.beta_slow > 0 && rope.high_freq_factor > rope.low_freq_factor;
  if (!good || (rope.type == "dynamic" && rotary <= 2))
    throw Error(ErrorCode::bad_input, "config",
                "rope_theta, the scaling's factors and max_position_embeddings (" + std::to_string(max_positions) +
                    ") must be positive, high_freq_factor above low_freq_factor, and a dynamic scaling needs a head_dim above 2",
                {.file = file});
  return rope;
}

std::vector<float> rope_frequencies(const RopeSpec& rope, int64_t length) {
  constexpr double kPi = 3.14159265358979323846;
  const auto r = static_cast<double>(rope.rotary);
  double base = rope.base;
  if (rope.type == "dynamic" && static_cast<double>(length) > rope.original_positions)
    base *= std::pow(rope.factor * static_cast<double>(length) / rope.original_positions - (rope.factor - 1), r / (r - 2));

  // YaRN: below `low` the frequencies stay, above `high` they are divided, between them a linear ramp.
  const auto dimension_of = [&](double turns) {
    return r * std::log(rope.original_positions / (turns * 2 * kPi)) / (2 * std::log(base));
  };
  double low = dimension_of(rope.beta_fast), high = dimension_of(rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::fmax(low, 0);
  high = std::fmin(high, r - 1);
  if (low == high) high += 0.001;

  std::vector<float> frequencies;
  for (int64_t i = 0; i < rope.rotary / 2; ++i) {
    const double f = 1.0 / std::pow(base, static_cast<double>(2 * i) / r), divided = f / rope.factor;
    double out = f;
    if (rope.type == "linear") {
      out = divided;
    } else if (rope.type == "llama3") {
      const double wavelength = 2 * kPi / f;
      const double smooth = (rope.original_positions / wavelength - rope.low_freq_factor) /
                            (rope.high_freq_factor - rope.low_freq_factor);
      out = wavelength < rope.original_positions / rope.high_freq_factor  ? f
            : wavelength > rope.original_positions / rope.low_freq_factor ? divided
                                                                          : (1 - smooth) * divided + smooth * f;
    } else if (rope.type == "longrope") {
      const bool beyond = static_cast<double>(length) > rope.original_positions;
      out = f / (beyond ? rope.long_factors : rope.short_factors)[static_cast<size_t>(i)];
    } else if (rope.type == "yarn") {
      const double ramp = std::fmin(std::fmax((static_cast<double>(i) - low) / (high - low), 0), 1);
      out = divided * ramp + f * (1 - ramp);
    }
    frequencies.push_back(static_cast<float>(out));
  }
  return frequencies;
}

}  // namespace codecllm
