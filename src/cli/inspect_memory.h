// What a model takes of this machine's memory while it is served.
#pragma once

#include <string>
#include <vector>

namespace continuo {

// Opens the model as `generate` does with these settings (dtype, weights, kv_cache, …) and prints
// what is held of it.
void inspect_memory(const std::string& path, const std::vector<std::string>& overrides);

}  // namespace continuo
