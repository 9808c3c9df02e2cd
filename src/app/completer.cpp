#include "app/completer.h"

#include "core/hash.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "nn/invariant_rows.h"

namespace continuo {
namespace {

uint64_t noise_key(const std::vector<TokenId>& ids) {
  Hasher hasher;
  for (const TokenId id : ids) hasher.update(static_cast<uint64_t>(id));
  return std::stoull(hasher.hex().substr(0, 16), nullptr, 16);
}

}  // namespace

Completer::Completer(ModelDirectory model)
    : model_(std::move(model)),
      vocabulary_(vocabulary_of(model_.tokenizer, model_.eos, model_.tokenizer->size())),
      resident_(std::make_unique<CachedDecoder>(*model_.model.decoder,
                                                CachedDecoder::Keeps::kLastSequence)) {}

GenerationAids Completer::aids(const GenerationConfig& config) {
  return {.resident = resident_.get(), .drafter = draft_.drafter(model_, vocabulary_, config)};
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
  Generator(*model_.model.decoder, vocabulary_, config, aids(config));
  const bool quantised = is_quantised(model_.model.decoder->compute().weight_format());
  if (config.max_batch > kInvariantRows && !quantised) {
    log_warning(
        "max_batch={}: a completion is the same in any company of up to {} sequences; among more "
        "its "
        "rounding may differ",
        config.max_batch, kInvariantRows);
  }
}

GenerationResult Completer::complete(std::span<const std::vector<TokenId>> prompts,
                                     const GenerationConfig& config, const OnToken& on_token) {
  std::vector<uint64_t> keys;
  for (const std::vector<TokenId>& ids : prompts) keys.push_back(noise_key(ids));
  Generator generator(*model_.model.decoder, vocabulary_, config, aids(config));
  return generator.generate(prompts, on_token, [] { return interrupted(); }, keys);
}

}  // namespace continuo
