// The Llama family in Hugging Face's terms: RMSNorm, rotary embedding, grouped-query attention, SwiGLU.
#pragma once

#include <filesystem>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "nn/transformer.h"

namespace continuo {

TransformerOptions read_llama_config(const nlohmann::json& config, const std::filesystem::path& file);
nlohmann::json write_llama_config(const TransformerOptions& options);
// "blocks_3.attention.query.weight" → "model.layers.3.self_attn.q_proj.weight"
std::string llama_checkpoint_name(const std::string& parameter);

}  // namespace continuo
