// How text meets a model's tokens, each rule with the file that says so.
#pragma once

#include <string>

#include "app/model_directory.h"

namespace continuo {

// Lines of what `inspect` prints: BOS, the ids that end a sequence, the prompt template.
std::string describe_text_rules(const ModelDirectory& model);

}  // namespace continuo
