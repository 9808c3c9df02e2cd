// The model families, one row each. Adding a family is one file and one row.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "models/families/family.h"

namespace continuo {

std::span<const Family> families();
const Family* find_family(std::string_view name);  // nullptr when unknown
std::string known_families();                      // "Known families: llama, …."

}  // namespace continuo
