// How configurations name the formats of the weights and of the cached keys and values.
#pragma once

#include <optional>
#include <span>

#include "core/config/config.h"
#include "nn/executor.h"

namespace continuo {

enum class WeightChoice { kAuto, kFloat32, kBfloat16, kQ8, kQ4 };
std::span<const EnumName> enum_names(WeightChoice);

// Nothing for kAuto: what that stands for is the configuration's business.
std::optional<WeightFormat> chosen_format(WeightChoice choice);

enum class CacheChoice { kAuto, kFloat32, kBfloat16, kQ8 };
std::span<const EnumName> enum_names(CacheChoice);
std::optional<KVFormat> chosen_format(CacheChoice choice);

// What executors of a model in `dtype` are made with; auto stands for that, and for what a file
// holds in quantised blocks for these.
ExecutorOptions executor_options(at::ScalarType dtype, WeightChoice weights, CacheChoice cache);

}  // namespace continuo
