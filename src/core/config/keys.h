// The keys of a config struct one by one, for those who show them in a form of their own: options
// of a command line, lines of help.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/config/config.h"

namespace continuo {

struct ConfigKey {
  std::string key;    // dotted
  std::string type;   // as help shows it: "integer ≥ 0", "fp32|bf16"; empty for a section
  std::string value;  // the default
  std::string help;
  bool required = false;
};

std::vector<ConfigKey> list_keys(void* config, FieldsFunction fields);

// In the order of the struct's `fields` function; a section comes before its keys.
template <class C>
std::vector<ConfigKey> config_keys(C defaults = {}) {
  return list_keys(&defaults, &visit_fields<C>);
}

// The name of an enum's value in configurations.
template <class E>
std::string_view enum_name(E value) {
  for (const EnumName& entry : enum_names(E{})) {
    if (entry.value == static_cast<int>(value)) return entry.name;
  }
  return {};
}

}  // namespace continuo
