// Rotary embedding in config.json: transformers 4's rope_theta and rope_scaling, transformers 5's
// rope_parameters.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "models/families/config_reader.h"
#include "nn/model_spec.h"

namespace continuo {

struct RopeKeys {
  const char* theta = "rope_theta";
  double default_theta = 10000;
  const char* partial = "partial_rotary_factor";  // share of a head's dimensions that is rotated
  double default_partial = 1;
};

// Lets every block rotate as the config says; its heads' dimensions and the context must be known.
// Error naming file and key.
void read_rope(ConfigReader& config, const RopeKeys& keys, ModelSpec& spec);
// One object of rope_type, factor, …: `rotary` gets the scaling and, where the object has them,
// theta and the partial factor.
void read_rope_object(ConfigReader rope, const ModelSpec& spec, Rotary& rotary, double& partial,
                      int64_t original_context);
void set_rotary_dim(const ConfigReader& config, const char* key, double partial,
                    const ModelSpec& spec, Rotary& rotary);

// The rotation that a config.json names first: of the layers that see everything, or else of those
// with a window. A model without any writes a plain one, which no layer uses.
Rotary main_rotary(const ModelSpec& spec);
nlohmann::json rope_object(const ModelSpec& spec);
// Adds both spellings to a config.json.
void write_rope(nlohmann::json& config, const ModelSpec& spec);
double partial_rotary_factor(const ModelSpec& spec);

}  // namespace continuo
