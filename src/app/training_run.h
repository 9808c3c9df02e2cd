// What a training run is made of, besides its optimizer and its loop: an experiment's tokenizer,
// template, model, adapters and data, and the state that it goes on from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "app/compute_config.h"
#include "app/experiment.h"
#include "data/example_store.h"
#include "models/store/adapter.h"
#include "models/store/model.h"
#include "nn/executor.h"
#include "text/prompt/prompt_template.h"
#include "text/tokenizer/tokenizer.h"
#include "train/checkpoint.h"

namespace continuo {

struct TrainingRun {
  std::shared_ptr<const Tokenizer> tokenizer;
  PromptTemplate prompt{PromptConfig{}};
  // What ends a sequence of the model: the ids that its base's files name, and those that training
  // teaches.
  std::vector<int64_t> eos;
  Model model;
  AdapterSet adapters;
  std::filesystem::path base;  // of the adapters: where their model lies; empty without any
  // Holds the frozen weights where training reads them as they are served; else there is none.
  std::shared_ptr<Executor> holder;
  DataSets data;
};

// `previous`: the checkpoint of a run that goes on, whose weights the model has; adapters are still
// new. On every rank; what is made once for a run directory or a data cache the first rank makes.
TrainingRun prepare_run(const Experiment& experiment, const Compute& compute,
                        const std::optional<Checkpoint>& previous, Communicator& ranks);

// Where the run stands: at its beginning, or where `previous` left it, whose adapters it then takes
// over. Error: something that the results depend on has changed since, or ranks are not about to
// train the same.
TrainState start_run(const TrainingRun& run, const ExperimentConfig& config, const Compute& compute,
                     const std::optional<Checkpoint>& previous, Communicator& ranks);

}  // namespace continuo
