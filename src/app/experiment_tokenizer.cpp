#include "app/experiment_tokenizer.h"

#include "app/model_directory.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/log.h"
#include "text/tokenizer/sentencepiece_trainer.h"

namespace continuo {

namespace fs = std::filesystem;

namespace {

fs::path own_tokenizer(const Experiment& e) { return e.run_dir / "tokenizer"; }

// nullptr where the run trains its own.
std::shared_ptr<const Tokenizer> given_tokenizer(const ExperimentConfig& c) {
  if (!c.tokenizer.path.empty()) return load_model_tokenizer(c.tokenizer.path);
  if (!c.model.from.empty()) return load_model_tokenizer(c.model.from);
  return nullptr;
}

}  // namespace

std::shared_ptr<const Tokenizer> find_experiment_tokenizer(const Experiment& experiment) {
  if (auto given = given_tokenizer(experiment.config)) return given;
  const fs::path directory = own_tokenizer(experiment);
  return fs::exists(directory) ? load_tokenizer(directory) : nullptr;
}

std::shared_ptr<const Tokenizer> prepare_experiment_tokenizer(const Experiment& experiment) {
  if (auto given = given_tokenizer(experiment.config)) return given;
  const TokenizerTrainConfig& config = experiment.config.tokenizer.train;
  const fs::path directory = own_tokenizer(experiment);
  const fs::path stamp = directory / "trained_from";
  // Same settings and same data: the model of the last start is the one that would be trained
  // again.
  std::string key = dump_config(config);
  for (const TokenizerInput& input : config.inputs) key += hash_file(input.path);
  key = hash_bytes(key);
  if (fs::exists(stamp) && read_file(stamp) == key) {
    log_debug("the tokenizer was trained before: {}", directory.string());
    return load_tokenizer(directory);
  }
  log_info("training a tokenizer of {} pieces", config.vocab_size);
  const std::string model = train_sentencepiece(config);
  AtomicDirectory files(directory);
  atomic_write(files / "tokenizer.model", model);
  load_tokenizer(files.path())->save(files.path());
  atomic_write(files / "trained_from", key);
  files.commit();
  return load_tokenizer(directory);
}

}  // namespace continuo
