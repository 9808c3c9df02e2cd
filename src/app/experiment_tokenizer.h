// Which tokenizer an experiment uses: the one it names, that of the model it starts from, or one
// trained for it.
#pragma once

#include <memory>

#include "app/experiment.h"
#include "text/tokenizer/tokenizer.h"

namespace continuo {

// The one that is there already; nullptr for a run that trains its own and has not begun.
std::shared_ptr<const Tokenizer> find_experiment_tokenizer(const Experiment& experiment);

// Trains it into the run directory where none of the same settings and data is there.
std::shared_ptr<const Tokenizer> prepare_experiment_tokenizer(const Experiment& experiment);

}  // namespace continuo
