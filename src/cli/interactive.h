// The session of `continuo generate` on a terminal: lines in, answers out, until end of input.
// Answers go to standard output, everything else to standard error.
#pragma once

#include "app/completer.h"

namespace continuo {

void run_session(Completer& completer, const GenerationConfig& config);

}  // namespace continuo
