#include "models/families/rope_config.h"

#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/expect_error.h"

namespace continuo {
namespace {

using nlohmann::json;

ModelSpec read(const json& config) {
  ModelSpec spec = {.context = 4096, .blocks = {{.mixer = Attend{.dim = 16}}}};
  ConfigReader reader(config, "config.json");
  read_rope(reader, {}, spec);
  reader.finish();
  return spec;
}

Rotary read_rotary(const json& config) { return read(config).blocks[0].attend().rotary.value(); }

TEST(RopeConfig, BothSpellingsSayTheSame) {
  const json object = {{"rope_type", "llama3"},
                       {"factor", 8},
                       {"low_freq_factor", 1},
                       {"high_freq_factor", 4},
                       {"original_max_position_embeddings", 1024}};
  json parameters = object;
  parameters["rope_theta"] = 500000;
  const Rotary old = read_rotary({{"rope_theta", 500000}, {"rope_scaling", object}});
  EXPECT_EQ(read_rotary({{"rope_parameters", parameters}}), old);
  EXPECT_EQ(old.theta, 500000);
  EXPECT_EQ(old.scaling.kind, RopeKind::llama3);
  EXPECT_EQ(old.scaling.original_context, 1024);
  EXPECT_EQ(old.dim, 16);
}

TEST(RopeConfig, DefaultsAreThoseOfTransformers) {
  EXPECT_EQ(read_rotary(json::object()).theta, 10000);
  // The factor of yarn is that of the contexts; its attention factor grows with the logarithm.
  const Rotary yarn = read_rotary(
      {{"rope_scaling", {{"rope_type", "yarn"}, {"original_max_position_embeddings", 1024}}}});
  EXPECT_EQ(yarn.scaling.factor, 4);
  EXPECT_DOUBLE_EQ(yarn.scaling.attention_factor, 0.1 * std::log(4.0) + 1);
  EXPECT_EQ(yarn.scaling.beta_fast, 32);
  const std::vector<double> ones(8, 1.0);
  const Rotary longrope = read_rotary({{"rope_scaling",
                                        {{"type", "su"},
                                         {"short_factor", ones},
                                         {"long_factor", ones},
                                         {"original_max_position_embeddings", 1024}}}});
  EXPECT_EQ(longrope.scaling.kind, RopeKind::longrope);
  EXPECT_DOUBLE_EQ(longrope.scaling.attention_factor,
                   std::sqrt(1 + std::log(4.0) / std::log(1024.0)));
}

TEST(RopeConfig, WhatIsWrittenIsReadBack) {
  const std::vector<double> factors = {1, 1, 2, 2, 3, 3, 4, 4};
  for (const json& scaling :
       {json(nullptr), json({{"rope_type", "linear"}, {"factor", 2.5}}),
        json({{"rope_type", "dynamic"}, {"factor", 3}}),
        json({{"rope_type", "yarn"}, {"factor", 8}, {"truncate", false}}),
        json({{"rope_type", "longrope"},
              {"short_factor", factors},
              {"long_factor", factors},
              {"original_max_position_embeddings", 512}}),
        json({{"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 2}})}) {
    const ModelSpec before = read({{"rope_theta", 1234}, {"rope_scaling", scaling}});
    json written = json::object();
    write_rope(written, before);
    EXPECT_EQ(read(written), before) << written.dump(2);
  }
  // 6 of 16 dimensions: readers truncate the product.
  const ModelSpec partial = read({{"partial_rotary_factor", 0.4}});
  EXPECT_EQ(partial.blocks[0].attend().rotary->dim, 6);
  EXPECT_EQ(static_cast<int64_t>(16 * partial_rotary_factor(partial)), 6);
}

TEST(RopeConfig, WhatCannotBeIsRefusedByName) {
  const auto refuse = [](const json& scaling, const std::string& key) {
    test::expect_error([&] { read({{"rope_scaling", scaling}}); },
                       {"config.json", "rope_scaling." + key});
  };
  refuse({{"rope_type", "spiral"}}, "rope_type");
  refuse({{"rope_type", "linear"}}, "factor");
  refuse({{"rope_type", "dynamic"}, {"factor", 0.5}}, "factor");
  refuse({{"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 4}}, "high_freq_factor");
  refuse({{"rope_type", "yarn"}, {"rope_theta", 1}}, "rope_theta");
  refuse({{"rope_type", "longrope"}, {"short_factor", {1, 2}}, {"long_factor", {1, 2}}},
         "short_factor");
  refuse({{"rope_type", "linear"}, {"factor", 2}, {"wobble", 3}}, "wobble");
  test::expect_error([] { read({{"partial_rotary_factor", 0.1}}); }, {"partial_rotary_factor"});
}

}  // namespace
}  // namespace continuo
