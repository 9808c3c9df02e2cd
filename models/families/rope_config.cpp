#include "models/families/rope_config.h"

#include <array>
#include <cmath>
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

void check_factors(const ConfigReader& config, const char* key, const std::vector<double>& factors,
                   int64_t count) {
  bool good = static_cast<int64_t>(factors.size()) == count;
  for (const double factor : factors) good = good && std::isfinite(factor) && factor > 0;
  if (!good) config.fail(key, fmt::format("must be a list of {} positive numbers", count));
}

}  // namespace

void read_rope_object(ConfigReader rope, TransformerOptions& o, double& theta, double& partial,
                      int64_t original_context) {
  theta = rope.positive("rope_theta", theta);
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
  RopeScaling& s = o.rope_scaling;
  s = {};
  s.kind = kind->second;
  const int64_t own = rope.size("original_max_position_embeddings", o.context);
  const double context = static_cast<double>(o.context);
  if (s.kind != RopeKind::plain && s.kind != RopeKind::linear) {
    s.original_context = s.kind == RopeKind::dynamic ? o.context
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
    if (theta <= 1) rope.fail("rope_theta", "must be above 1 for yarn");
  }
  if (s.kind == RopeKind::longrope) {
    if (s.original_context < 2)
      rope.fail("original_max_position_embeddings", "must be at least 2 for longrope");
    read_longrope(rope, s, context);
    const auto count = static_cast<int64_t>(static_cast<double>(o.head_dim) * partial) / 2;
    check_factors(rope, "short_factor", s.short_factors, count);
    check_factors(rope, "long_factor", s.long_factors, count);
  }
  rope.finish();
}

void set_rotary_dim(const ConfigReader& config, const char* key, double partial,
                    TransformerOptions& o) {
  const auto dim = static_cast<int64_t>(static_cast<double>(o.head_dim) * partial);
  if (partial > 1 || dim < 2 || dim % 2 != 0) {
    config.fail(
        key,
        fmt::format("{} rotates {} of a head's {} dimensions; it must be an even number from 2",
                    partial, dim, o.head_dim));
  }
  if (o.rope_scaling.kind == RopeKind::dynamic && dim < 4) {
    config.fail(key, "leaves too few rotated dimensions for dynamic scaling");
  }
  o.rotary_dim = dim == o.head_dim ? 0 : dim;
}

void read_rope(ConfigReader& config, const RopeKeys& keys, TransformerOptions& o) {
  o.rope_theta = config.positive(keys.theta, keys.default_theta);
  double partial = config.positive(keys.partial, keys.default_partial);
  int64_t original = 0;
  if (config.has("original_max_position_embeddings"))
    original = config.size("original_max_position_embeddings");
  // An old rope_scaling object wins over rope_parameters, as in transformers 5.
  const bool scaling = config.has("rope_scaling"), parameters = config.has("rope_parameters");
  if (scaling || parameters) {
    read_rope_object(config.object(scaling ? "rope_scaling" : "rope_parameters"), o, o.rope_theta,
                     partial, original);
  }
  set_rotary_dim(config, keys.partial, partial, o);
}

double partial_rotary_factor(const TransformerOptions& o) {
  if (o.rotary_dim == 0) return 1;
  double factor = static_cast<double>(o.rotary_dim) / static_cast<double>(o.head_dim);
  // Readers truncate head_dim · factor.
  while (static_cast<int64_t>(static_cast<double>(o.head_dim) * factor) < o.rotary_dim)
    factor = std::nextafter(factor, 1);
  return factor;
}

json rope_object(const TransformerOptions& o) {
  const RopeScaling& s = o.rope_scaling;
  json rope = {{"rope_theta", o.rope_theta}};
  for (const auto& [name, kind] : kRopeKinds) {
    if (kind == s.kind) rope["rope_type"] = name;
  }
  if (o.rotary_dim) rope["partial_rotary_factor"] = partial_rotary_factor(o);
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

void write_rope(json& config, const TransformerOptions& o) {
  config["rope_theta"] = o.rope_theta;
  config["rope_parameters"] = rope_object(o);
  if (o.rope_scaling.kind == RopeKind::plain) return;
  json scaling = rope_object(o);
  scaling.erase("partial_rotary_factor");
  config["rope_scaling"] = scaling;
}

}  // namespace continuo
