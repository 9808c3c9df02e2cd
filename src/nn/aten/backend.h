// The reference backend: every operation by ATen's operators, for any device.
#pragma once

#include "nn/backend.h"

namespace continuo {

const Backend& aten_backend();

}  // namespace continuo
