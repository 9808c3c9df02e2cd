// The rows of the registry; each family's file says what sets it apart.
#pragma once

#include "models/families/family.h"

namespace continuo {

Family llama_family();
Family mistral_family();
Family qwen2_family();
Family qwen3_family();
Family smollm3_family();
Family olmo2_family();
Family phi3_family();
Family gpt2_family();
Family gpt_neox_family();
Family gemma2_family();
Family gemma3_family();

}  // namespace continuo
