#include "app/completer.h"

#include "core/hash.h"
#include "core/interrupt.h"
#include "core/log.h"

namespace continuo {
namespace {

uint64_t noise_key(const std::vector<TokenId>& ids) {
  Hasher hasher;
  for (const TokenId id : ids) hasher.update(static_cast<uint64_t>(id));
  return std::stoull(hasher.hex().substr(0, 16), nullptr, 16);
}

}  // namespace

Completer::Completer(OpenModel model)
    : model_(std::move(model.directory)),
      vocabulary_(vocabulary_of(model_.tokenizer, model_.eos, model_.tokenizer->size())),
      served_(std::move(model.served)),
      resident_(std::make_unique<CachedDecoder>(*served_.executor, /*keeps=*/1)) {}

GenerationAids Completer::aids(const GenerationConfig& config) {
  return {.resident = resident_.get(),
          .adapter = served_.adapter,
          .drafter = draft_.drafter(model_, served_.executor->options(), vocabulary_, config)};
}

GenerationConfig Completer::defaults() const {
  const std::filesystem::path file = model_.path / kExperimentFile;
  if (!std::filesystem::exists(file)) return {};
  try {
    const ConfigNode root = load_yaml(file);
    GenerationConfig config;
    Problems problems;
    if (const ConfigNode* section = root.find("generation")) {
      load_config(*section, config, problems, "generation");
    }
    validate(config, problems);
    problems.raise();
    return config;
  } catch (const Error& error) {
    log_warning("the checkpoint's own generation settings are passed over: {}", error.what());
    return {};
  }
}

void Completer::check(const GenerationConfig& config) {
  Generator(*served_.executor, vocabulary_, config, aids(config));
}

GenerationResult Completer::complete(std::span<const std::vector<TokenId>> prompts,
                                     const GenerationConfig& config, const OnToken& on_token) {
  std::vector<uint64_t> keys;
  for (const std::vector<TokenId>& ids : prompts) keys.push_back(noise_key(ids));
  Generator generator(*served_.executor, vocabulary_, config, aids(config));
  return generator.generate(prompts, on_token, [] { return interrupted(); }, keys);
}

}  // namespace continuo
