#include "app/draft_choice.h"

#include <ATen/core/grad_mode.h>

#include "core/config/keys.h"
#include "core/error.h"

namespace continuo {
namespace {

std::shared_ptr<Transformer> open_draft(const ModelDirectory& target,
                                        const GenerationConfig& config) {
  const ComputeOptions& compute = target.model.decoder->compute();
  if (config.draft == kDraftSelf) {
    std::shared_ptr<Transformer> twin = target.model.decoder->twin();
    const WeightChoice weights =
        config.draft_weights == WeightChoice::kAuto ? WeightChoice::kQ4 : config.draft_weights;
    try {
      twin->set_compute({.dtype = compute.dtype, .weights = chosen_format(weights)});
    } catch (const Error& error) {
      throw Error(fmt::format("draft=self with {} weights: {}", enum_name(weights), error.what()),
                  "Draft with draft=lookup.");
    }
    return twin;
  }
  const at::Device device = target.model.decoder->parameters().front().device();
  ModelDirectory opened =
      open_model_directory(config.draft, {.device = device, .dtype = compute.dtype});
  if (opened.tokenizer->hash() != target.tokenizer->hash()) {
    throw Error(fmt::format("the draft model {} has another tokenizer than {}",
                            opened.path.string(), target.path.string()),
                "Draft with a smaller model of the same family, with draft=self or draft=lookup.");
  }
  const std::optional<WeightFormat> weights = config.draft_weights == WeightChoice::kAuto
                                                  ? compute.weights
                                                  : chosen_format(config.draft_weights);
  opened.model.decoder->set_compute({.dtype = compute.dtype, .weights = weights});
  return opened.model.decoder;
}

// A first pass packs the weights; otherwise the first draft would take as long.
void pack(Decoder& decoder) {
  const at::NoGradGuard no_grad;
  decoder.eval();
  CachedDecoder cached(decoder);
  const std::vector<TokenId> token{0};
  cached.prefill(cached.begin(token), token, 1);
}

}  // namespace

Drafter* DraftChoice::drafter(const ModelDirectory& target, const Vocabulary& vocabulary,
                              const GenerationConfig& config) {
  if (!drafts_by_model(config)) return nullptr;
  const std::pair wanted{config.draft, config.draft_weights};
  if (!drafter_ || opened_ != wanted) {
    drafter_.reset();
    decoder_ = open_draft(target, config);
    pack(*decoder_);
    drafter_ = std::make_unique<DraftModel>(*decoder_, vocabulary, config.prefill_chunk);
    opened_ = wanted;
  }
  return drafter_.get();
}

}  // namespace continuo
