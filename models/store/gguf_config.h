// A GGUF file's metadata ↔ config.json: sizes, epsilons, rotary embedding.
#pragma once

#include <nlohmann/json.hpp>

#include "io/gguf.h"
#include "models/store/gguf_architecture.h"

namespace continuo {

// The architecture that general.architecture names. Error: missing or not known.
const GgufArchitecture& gguf_architecture(const GgufFile& file);

// config.json of the model in `file`. What the metadata does not say is taken from the tensors:
// vocabulary, biases, tied head, the frequency factors of Llama 3. Error naming file and key: a
// missing key, a rope scaling that has no counterpart.
nlohmann::json gguf_config(const GgufFile& file, const GgufArchitecture& architecture);

// The metadata of a model: general.architecture and the architecture's keys, without the tokenizer.
// Error naming the key: something that llama.cpp's architecture cannot express.
GgufMetadata gguf_metadata(const nlohmann::json& config, const GgufArchitecture& architecture);

// Rotary frequencies of "llama3" scaling are a tensor in GGUF: rope_freqs.weight, [head_dim / 2],
// by which each frequency is divided. Undefined for other models.
at::Tensor gguf_rope_factors(const nlohmann::json& config);

}  // namespace continuo
