// A generation's settings from YAML.
#pragma once

#include <string>

#include "generate/generation_config.h"

namespace continuo::test {

inline GenerationConfig generation_of(const std::string& yaml) {
  GenerationConfig config;
  Problems problems;
  load_config(parse_yaml(yaml, "test.yaml"), config, problems);
  problems.raise();
  return config;
}

}  // namespace continuo::test
