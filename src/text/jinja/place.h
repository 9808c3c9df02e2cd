// A place in the source of a template, for messages.
#pragma once

#include <string>

#include "core/error.h"

namespace continuo::jinja {

struct Place {
  int line = 1, column = 1;  // columns count code points

  Location in(const std::string& file) const {
    return {.file = file, .line = line, .column = column};
  }
};

}  // namespace continuo::jinja
