// Rotary embedding in config.json: transformers 4's rope_theta and rope_scaling, transformers 5's
// rope_parameters.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "models/families/config_reader.h"
#include "nn/transformer.h"

namespace continuo {

struct RopeKeys {
  const char* theta = "rope_theta";
  double default_theta = 10000;
  const char* partial = "partial_rotary_factor";  // share of a head's dimensions that is rotated
  double default_partial = 1;
};

// Fills rope_theta, rotary_dim and rope_scaling; head_dim and context must be known. Error naming
// file and key.
void read_rope(ConfigReader& config, const RopeKeys& keys, TransformerOptions& options);
// One object of rope_type, factor, …: `scaling` and, where it has them, theta and the partial
// factor.
void read_rope_object(ConfigReader rope, TransformerOptions& options, double& theta,
                      double& partial, int64_t original_context);
void set_rotary_dim(const ConfigReader& config, const char* key, double partial,
                    TransformerOptions& options);

nlohmann::json rope_object(const TransformerOptions& options);
// Adds both spellings to a config.json.
void write_rope(nlohmann::json& config, const TransformerOptions& options);
double partial_rotary_factor(const TransformerOptions& options);

}  // namespace continuo
