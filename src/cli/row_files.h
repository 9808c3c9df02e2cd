// What commands have in common that read rows of files named on the command line.
#pragma once

#include <string>
#include <vector>

#include "app/model_directory.h"
#include "core/config/config.h"
#include "data/data_config.h"

namespace continuo {

// Settings with a `data` section, whose rows are those of `files`. Error: faults of both.
template <class Config>
Config load_settings_of_rows(const ConfigNode& root, const std::vector<std::string>& files) {
  Config config;
  Problems problems;
  load_config(root, config, problems);
  for (const std::string& file : files) config.data.train.emplace_back().path = file;
  config.data = resolve_data_config(config.data, root, "data", problems);
  problems.raise();
  return config;
}

// The template that the settings have, else the model's own.
inline PromptTemplate prompt_of(const ConfigNode& root, const PromptConfig& config,
                                const ModelDirectory& model) {
  return root.find("prompt") ? PromptTemplate(config).bound_to(*model.tokenizer) : model.prompt;
}

}  // namespace continuo
