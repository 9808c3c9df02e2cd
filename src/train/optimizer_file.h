// optimizer.safetensors: the moments of all parameters under their names and in their shapes,
// whoever holds which part of them, so that a run goes on with any number of ranks.
#pragma once

#include <filesystem>

#include "train/optimizer.h"

namespace continuo {

// "step" [1] int64, "<parameter>.exp_avg", "<parameter>.exp_avg_sq" in the order of the parameters.
// Called on every rank; `path` is the first rank's, in a directory that all of them see, and each
// writes what it holds. Returns when the file is complete and on disk.
void save_optimizer(const std::filesystem::path& path, const AdamW& optimizer);
// Reads what this rank holds. Error: missing or misshapen entries.
void load_optimizer(const std::filesystem::path& path, AdamW& optimizer);

}  // namespace continuo
