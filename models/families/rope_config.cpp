#include "models/families/rope_config.h"

#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "core/error.h"

namespace continuo {

using nlohmann::json;

namespace {

constexpr std::array<std::pair<const char*, RopeKind>, 6> kRopeKinds = {
    {{"default", RopeKind::plain},
     {"linear", RopeKind::linear},
     {"dynamic", RopeKind::dynamic},
     {"yarn", RopeKind::yarn},
     {"longrope", RopeKind::longrope},
     {"llama3", RopeKind::llama3}}};

double log_scale(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

void read_yarn(ConfigReader& rope, RopeScaling& s, double context) {
  s.factor = rope.positive("factor", context / static_cast<double>(s.original_context));
  s.beta_fast = rope.positive("beta_fast", 32);
  s.beta_slow = rope.positive("beta_slow", 1);
  s.truncate = rope.flag("truncate", true);
  double attention = log_scale(s.factor, 1);
  const bool scales = rope.has("mscale") && rope.has("mscale_all_dim");
  if (scales) {
    attention = log_scale(s.factor, rope.positive("mscale", 1)) /
                log_scale(s.factor, rope.positive("mscale_all_dim", 1));
  }
  s.attention_factor = rope.positive("attention_factor", attention);
}

void read_longrope(ConfigReader& rope, RopeScaling& s, double context) {
  const double original = static_cast<double>(s.original_context);
  const double factor = rope.positive("factor", context / original);
  const double attention = factor <= 1 ? 1.0 : std::sqrt(1 + std::log(factor) / std::log(original));
  s.attention_factor = rope.positive("attention_factor", attention);
  s.short_factors = rope.numbers("short_factor");
  s.long_factors = rope.numbers("long_factor");
}

int64_t head_dim(const ModelSpec& spec) { return spec.blocks.front().attend().dim; }

int64_t share_of_head(const ModelSpec& spec, double share) {
  return static_cast<int64_t>(static_cast<double>(head_dim(spec)) * share);
}

void check_factors(const ConfigReader& config, const char* key, const std::vector<double>& factors,
                   int64_t count) {
  bool good = static_cast<int64_t>(factors.size()) == count;
  for (const double factor : factors) good = good && std::isfinite(factor) && factor > 0;
  if (!good) config.fail(key, fmt::format("must be a list of {} positive numbers", count));
}

}  // namespace

void read_rope_object(ConfigReader rope, const ModelSpec& spec, Rotary& rotary, double& partial,
                      int64_t original_context) {
  rotary.theta = rope.positive("rope_theta", rotary.theta);
  partial = rope.positive("partial_rotary_factor", partial);
  std::string type = rope.text("rope_type", rope.text("type", "default"));
  rope.ignore("type");
  if (type == "su") type = "longrope";
  const auto* kind = kRopeKinds.begin();
  while (kind != kRopeKinds.end() && type != kind->first) ++kind;
  if (kind == kRopeKinds.end()) {
    rope.fail(
        "rope_type",
        "'" + type + "' is not supported; known: default, linear, dynamic, yarn, longrope, llama3");
  }
  RopeScaling& s = rotary.scaling;
  s = {};
  s.kind = kind->second;
  const int64_t own = rope.size("original_max_position_embeddings", spec.context);
  const double context = static_cast<double>(spec.context);
  if (s.kind != RopeKind::plain && s.kind != RopeKind::linear) {
    s.original_context = s.kind == RopeKind::dynamic ? spec.context
                         : original_context          ? original_context
                                                     : own;
  }
  const bool factor_needed =
      s.kind == RopeKind::linear || s.kind == RopeKind::dynamic || s.kind == RopeKind::llama3;
  if (factor_needed && !rope.has("factor")) rope.fail("factor", "is missing");
  if (s.kind == RopeKind::plain) {
    rope.ignore("factor");  // 1.0 in some files; the plain type has no use for it
  } else if (factor_needed) {
    s.factor = rope.positive("factor", 1);
    if (s.kind != RopeKind::linear && s.factor < 1) rope.fail("factor", "must be at least 1");
  }
  if (s.kind == RopeKind::llama3) {
    s.low_frequency = rope.positive("low_freq_factor", 1);
    s.high_frequency = rope.positive("high_freq_factor", 4);
    if (s.high_frequency <= s.low_frequency)
      rope.fail("high_freq_factor", "must be above low_freq_factor");
  }
  if (s.kind == RopeKind::yarn) {
    read_yarn(rope, s, context);
    if (rotary.theta <= 1) rope.fail("rope_theta", "must be above 1 for yarn");
  }
  if (s.kind == RopeKind::longrope) {
    if (s.original_context < 2)
      rope.fail("original_max_position_embeddings", "must be at least 2 for longrope");
    read_longrope(rope, s, context);
    const int64_t count = share_of_head(spec, partial) / 2;
    check_factors(rope, "short_factor", s.short_factors, count);
    check_factors(rope, "long_factor", s.long_factors, count);
  }
  rope.finish();
}

void set_rotary_dim(const ConfigReader& config, const char* key, double partial,
                    const ModelSpec& spec, Rotary& rotary) {
  const int64_t dim = share_of_head(spec, partial);
  if (partial > 1 || dim < 2 || dim % 2 != 0) {
    config.fail(
        key,
        fmt::format("{} rotates {} of a head's {} dimensions; it must be an even number from 2",
                    partial, dim, head_dim(spec)));
  }
  if (rotary.scaling.kind == RopeKind::dynamic && dim < 4) {
    config.fail(key, "leaves too few rotated dimensions for dynamic scaling");
  }
  rotary.dim = dim;
}

void read_rope(ConfigReader& config, const RopeKeys& keys, ModelSpec& spec) {
  Rotary rotary = {.theta = config.positive(keys.theta, keys.default_theta)};
  double partial = config.positive(keys.partial, keys.default_partial);
  int64_t original = 0;
  if (config.has("original_max_position_embeddings"))
    original = config.size("original_max_position_embeddings");
  // An old rope_scaling object wins over rope_parameters, as in transformers 5.
  const bool scaling = config.has("rope_scaling"), parameters = config.has("rope_parameters");
  if (scaling || parameters) {
    read_rope_object(config.object(scaling ? "rope_scaling" : "rope_parameters"), spec, rotary,
                     partial, original);
  }
  set_rotary_dim(config, keys.partial, partial, spec, rotary);
  for (BlockSpec& block : spec.blocks) block.attend().rotary = rotary;
}

Rotary main_rotary(const ModelSpec& spec) {
  std::optional<Rotary> windowed;
  for (const BlockSpec& block : spec.blocks) {
    const Attend& a = block.attend();
    if (!a.rotary) continue;
    if (a.window == 0) return *a.rotary;
    if (!windowed) windowed = a.rotary;
  }
  return windowed.value_or(Rotary{.dim = head_dim(spec)});
}

double partial_rotary_factor(const ModelSpec& spec) {
  const int64_t dim = main_rotary(spec).dim;
  double factor = static_cast<double>(dim) / static_cast<double>(head_dim(spec));
  // Readers truncate the head's dimensions · factor.
  while (share_of_head(spec, factor) < dim) factor = std::nextafter(factor, 1);
  return factor;
}

json rope_object(const ModelSpec& spec) {
  const Rotary rotary = main_rotary(spec);
  const RopeScaling& s = rotary.scaling;
  json rope = {{"rope_theta", rotary.theta}};
  for (const auto& [name, kind] : kRopeKinds) {
    if (kind == s.kind) rope["rope_type"] = name;
  }
  if (rotary.dim != head_dim(spec)) rope["partial_rotary_factor"] = partial_rotary_factor(spec);
  if (s.kind != RopeKind::plain && s.kind != RopeKind::longrope) rope["factor"] = s.factor;
  if (s.kind == RopeKind::yarn || s.kind == RopeKind::longrope || s.kind == RopeKind::llama3) {
    rope["original_max_position_embeddings"] = s.original_context;
  }
  if (s.kind == RopeKind::llama3) {
    rope["low_freq_factor"] = s.low_frequency;
    rope["high_freq_factor"] = s.high_frequency;
  }
  if (s.kind == RopeKind::yarn || s.kind == RopeKind::longrope)
    rope["attention_factor"] = s.attention_factor;
  if (s.kind == RopeKind::yarn) {
    rope["beta_fast"] = s.beta_fast;
    rope["beta_slow"] = s.beta_slow;
    if (!s.truncate) rope["truncate"] = false;
  }
  if (s.kind == RopeKind::longrope) {
    rope["short_factor"] = s.short_factors;
    rope["long_factor"] = s.long_factors;
  }
  return rope;
}

void write_rope(json& config, const ModelSpec& spec) {
  const json rope = rope_object(spec);
  config["rope_theta"] = rope["rope_theta"];
  config["rope_parameters"] = rope;
  if (main_rotary(spec).scaling.kind == RopeKind::plain) return;
  json scaling = rope;
  scaling.erase("partial_rotary_factor");
  config["rope_scaling"] = scaling;
}

}  // namespace continuo
