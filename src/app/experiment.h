// One YAML file = one experiment: every section of it, its validation, and what else a run derives
// from it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "app/compute_config.h"
#include "app/ranks.h"
#include "data/data_config.h"
#include "data/example_stream.h"
#include "generate/generation_config.h"
#include "models/families/model_config.h"
#include "models/store/lora_config.h"
#include "text/prompt/prompt_template.h"
#include "text/tokenizer/tokenizer_train_config.h"
#include "train/checkpoint.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include "train/train_config.h"

namespace continuo {

struct TokenizerConfig {
  std::string path;  // tokenizer.model or a directory with one; empty = model.from's, or the one
                     // trained below
  TokenizerTrainConfig train;  // used when `path` and model.from are empty
};
void fields(FieldVisitor& v, TokenizerConfig& c);

struct ExperimentConfig {
  std::string run_dir;  // default: runs/<name of the YAML file>
  DeviceConfig machine;
  RanksConfig ranks;
  TokenizerConfig tokenizer;
  ModelConfig model;
  LoraConfig lora;
  PromptConfig prompt;
  DataConfig data;
  BatchConfig batch;
  TrainConfig train;
  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  CheckpointConfig checkpoint;
  GenerationConfig generation;
  std::vector<std::string> samples;  // prompts completed while training
};
void fields(FieldVisitor& v, ExperimentConfig& c);

struct Experiment {
  ExperimentConfig config;  // paths absolute, derived values filled in
  ConfigNode origins;       // the tree as written, for messages and provenance
  std::filesystem::path run_dir;
};

// Reads the file (with `extends`), applies `key=value` overrides and validates everything. Error:
// all faults at once.
Experiment load_experiment(const std::filesystem::path& file,
                           const std::vector<std::string>& overrides);

// The resolved configuration as YAML, each value with its origin.
std::string resolved_yaml(const Experiment& experiment);
// Hash of what must not change between a run and its continuation; length, cadence and sampling
// may.
std::string resume_hash(const ExperimentConfig& config);

}  // namespace continuo
