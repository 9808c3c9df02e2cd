#include "generate/sampling/sample_row.h"

#include <optional>

#include "generate/sampling/draw.h"

namespace continuo {
namespace {

std::optional<SampledToken> sample_top(const TopLogits& top, SamplerChain& chain,
                                       const StageContext& context, Candidates& scratch) {
  try {
    scratch.reset(top);
    chain.apply(scratch, context);
    const Drawn drawn = draw(scratch, context.noise, context.position());
    return SampledToken{drawn, top.raw_logprob(drawn.id)};
  } catch (const NeedsWholeRow&) {
    return std::nullopt;
  }
}

SampledToken sample_whole(std::span<const float> logits, SamplerChain& chain,
                          const StageContext& context, Candidates& scratch) {
  const auto size = static_cast<size_t>(context.vocabulary.size);
  // A model may have more rows in its head than the tokenizer has tokens.
  scratch.reset(logits.first(size));
  chain.apply(scratch, context);
  const Drawn drawn = draw(scratch, context.noise, context.position());
  const double raw = logits.size() > size
                         ? raw_logprob(logits, drawn.id)
                         : logits[static_cast<size_t>(drawn.id)] - scratch.raw_log_sum();
  return {drawn, raw};
}

}  // namespace

SampledToken sample_row(const LogitRow& row, SamplerChain& chain, const StageContext& context,
                        Candidates& scratch) {
  std::optional<SampledToken> sampled;
  if (row.top && row.top->size == static_cast<size_t>(context.vocabulary.size))
    sampled = sample_top(*row.top, chain, context, scratch);
  if (!sampled) sampled = sample_whole(row.whole(), chain, context, scratch);
  chain.accept(sampled->drawn);
  return *sampled;
}

}  // namespace continuo
