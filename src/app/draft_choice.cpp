#include "app/draft_choice.h"

#include "core/config/keys.h"
#include "core/error.h"

namespace continuo {
namespace {

ServedModel open_draft(const ModelDirectory& target, const ExecutorOptions& served,
                       const GenerationConfig& config) {
  ExecutorOptions options = served;
  const std::optional<WeightFormat> weights = chosen_format(config.draft_weights);
  if (config.draft == kDraftSelf) {
    options.weights = weights.value_or(WeightFormat::q4);
    try {
      return serve_model(target.model.decoder, options);
    } catch (const Error& error) {
      throw Error(
          fmt::format("draft=self with {} weights: {}", name(options.weights), error.what()),
          "Draft with draft=lookup.");
    }
  }
  const bool narrow = served.weights == WeightFormat::bf16;
  ModelDirectory opened =
      open_model_directory(config.draft, {.device = target.model.decoder->device(),
                                          .dtype = narrow ? at::kBFloat16 : at::kFloat,
                                          .held = Held::stored});
  if (opened.tokenizer->hash() != target.tokenizer->hash()) {
    throw Error(fmt::format("the draft model {} has another tokenizer than {}",
                            opened.path.string(), target.path.string()),
                "Draft with a smaller model of the same family, with draft=self or draft=lookup.");
  }
  options.weights = weights.value_or(served.weights);
  return serve_model(opened.model.decoder, options);
}

}  // namespace

Drafter* DraftChoice::drafter(const ModelDirectory& target, const ExecutorOptions& served,
                              const Vocabulary& vocabulary, const GenerationConfig& config) {
  if (!drafts_by_model(config)) return nullptr;
  const std::pair wanted{config.draft, config.draft_weights};
  if (!drafter_ || opened_ != wanted) {
    drafter_.reset();
    model_ = {};  // before the next one takes its memory
    model_ = open_draft(target, served, config);
    drafter_ = std::make_unique<DraftModel>(*model_.executor, vocabulary, config.prefill_chunk,
                                            model_.adapter);
    opened_ = wanted;
  }
  return drafter_.get();
}

}  // namespace continuo
