// How configurations name the format of the weights that decoding reads.
#pragma once

#include <optional>
#include <span>

#include "core/config/config.h"
#include "nn/weight_format.h"

namespace continuo {

enum class WeightChoice { kAuto, kFloat32, kBfloat16, kQ8, kQ4 };
std::span<const EnumName> enum_names(WeightChoice);

// Nothing for kAuto: what that stands for is the configuration's business.
std::optional<WeightFormat> chosen_format(WeightChoice choice);

}  // namespace continuo
