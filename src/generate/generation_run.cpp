#include "generate/generation_run.h"

#include <algorithm>

#include <ATen/Parallel.h>

#include "core/error.h"
#include "core/process.h"
#include "generate/draft/prompt_lookup.h"

namespace continuo {

GenerationRun::GenerationRun(const GenerationPlan& plan,
                             std::span<const std::vector<TokenId>> prompts, const OnToken& on_token,
                             const std::function<bool()>& interrupted,
                             std::span<const uint64_t> keys)
    : plan_(plan),
      config_(plan.config),
      prompts_(prompts),
      on_token_(on_token),
      interrupted_(interrupted),
      keys_(keys),
      own_decoder_(plan.aids.resident ? nullptr : std::make_unique<CachedDecoder>(plan.executor)),
      decoder_(own_decoder_ ? *own_decoder_ : *plan.aids.resident),
      own_drafter_(config_.draft == kDraftLookup
                       ? std::make_unique<PromptLookup>(config_.draft_ngram)
                       : nullptr),
      drafter_(own_drafter_ ? own_drafter_.get() : plan.aids.drafter),
      rules_{plan.vocabulary, config_.max_new_tokens, plan.context, config_.ignore_eos},
      start_(seconds_now()) {
  if (drafter_) {
    pass_time_ = decoder_.pass_time();
    pass_cost_ = decoder_.pass_cost();
  }
  result_.completions.resize(prompts_.size() * static_cast<size_t>(config_.samples));
}

// What an error left behind must not stay with those who outlive this.
GenerationRun::~GenerationRun() {
  if (prefix_) decoder_.drop(prefix_->cache_id);
  for (Sequence& sequence : live_) {
    decoder_.drop(sequence.cache_id);
    if (drafter_) drafter_->forget(name_of(sequence));
  }
}

GenerationResult GenerationRun::run() {
  for (;;) {
    if (const auto reason = halted()) {
      finish_all(*reason);
      break;
    }
    if (admit_one()) continue;
    if (live_.empty()) break;
    step();
  }
  return std::move(result_);
}

std::optional<FinishReason> GenerationRun::halted() const {
  if (interrupted_ && interrupted_()) return FinishReason::kInterrupted;
  if (config_.time_limit && seconds_now() - start_ >= *config_.time_limit)
    return FinishReason::kTime;
  return std::nullopt;
}

// Its place among the completions.
int64_t GenerationRun::name_of(Sequence& sequence) const {
  return sequence.completion().prompt * config_.samples + sequence.completion().sample;
}

Sequence GenerationRun::make_sequence(size_t index) const {
  const size_t prompt = prompt_of(index);
  const size_t sample = index % static_cast<size_t>(config_.samples);
  const uint64_t key = keys_.empty() ? prompt : keys_[prompt];
  Sequence sequence(&rules_, prompts_[prompt],
                    Noise(static_cast<uint64_t>(config_.seed), key, sample), plan_.chain.clone(),
                    plan_.stops);
  sequence.completion().prompt = static_cast<int64_t>(prompt);
  sequence.completion().sample = static_cast<int64_t>(sample);
  return sequence;
}

// Starts the next completion of the queue and draws its first token; false when there is no room or
// none left.
bool GenerationRun::admit_one() {
  if (next_ == total() || live_.size() >= static_cast<size_t>(config_.max_batch)) return false;
  const size_t index = next_++;
  Sequence sequence = make_sequence(index);
  if (sequence.length() >= rules_.context) {
    end(sequence, FinishReason::kContext);
    return true;
  }
  if (!prefix_) prefix_ = prefill(prompts_[prompt_of(index)]);
  const at::Tensor logits = prefix_->logits;
  const bool last = next_ == total() || prompt_of(next_) != prompt_of(index);
  sequence.cache_id = last ? prefix_->cache_id : decoder_.fork(prefix_->cache_id);
  if (last) prefix_.reset();
  live_.push_back(std::move(sequence));
  draw(logits, live_.size() - 1, {});
  return true;
}

// The prompt alone, in chunks, so that its logits depend on nothing else of this call.
GenerationRun::Prefix GenerationRun::prefill(const std::vector<TokenId>& prompt) {
  const double begin = seconds_now();
  Prefix prefix{.cache_id = decoder_.begin(prompt, plan_.aids.adapter), .logits = {}};
  const int64_t held = decoder_.length(prefix.cache_id);
  const std::span<const TokenId> missing = std::span(prompt).subspan(static_cast<size_t>(held));
  prefix.logits = decoder_.prefill(prefix.cache_id, missing, config_.prefill_chunk);
  result_.timings.prefill_seconds += seconds_now() - begin;
  result_.timings.prompt_tokens += static_cast<int64_t>(missing.size());
  result_.timings.reused_tokens += held;
  return prefix;
}

// A pass: one more token for every live sequence, and as many as its draft has right.
void GenerationRun::step() {
  const Drafts drafts = draft();
  const double begin = seconds_now();
  std::vector<std::vector<TokenId>> tokens;
  std::vector<CachedDecoder::Piece> pieces;
  for (size_t i = 0; i < live_.size(); ++i) {
    // The last token, and before it what a cache that was cut back could not hold.
    const std::span<const TokenId> history = live_[i].history();
    const auto missing = history.subspan(static_cast<size_t>(decoder_.length(live_[i].cache_id)));
    tokens.emplace_back(missing.begin(), missing.end());
    if (!drafts.empty())
      tokens.back().insert(tokens.back().end(), drafts[i].begin(), drafts[i].end());
  }
  for (size_t i = 0; i < live_.size(); ++i) {
    const int64_t drafted = drafts.empty() ? 0 : std::ssize(drafts[i]);
    pieces.push_back({live_[i].cache_id, tokens[i], 1 + drafted});
  }
  const at::Tensor logits = decoder_.run(pieces);
  result_.timings.decode_seconds += seconds_now() - begin;
  result_.timings.passes += static_cast<int64_t>(live_.size());
  draw(logits, 0, drafts);
}

GenerationRun::Drafts GenerationRun::draft() {
  if (!drafter_) return {};
  const auto live = static_cast<int64_t>(live_.size());
  const double begin = seconds_now();
  const DraftCost cost{.time = pass_time_, .live = live};
  std::vector<DraftQuery> queries;
  for (Sequence& sequence : live_) {
    queries.push_back({.sequence = name_of(sequence),
                       .history = sequence.history(),
                       .prompt_length = sequence.prompt_length(),
                       .limit = std::min(config_.draft_tokens, sequence.remaining() - 1),
                       .cost = cost,
                       .pass_cost = pass_cost_,
                       .chain = &sequence.chain(),
                       .noise = &sequence.noise()});
  }
  Drafts drafts = drafter_->draft(queries);
  for (const auto& draft : drafts)
    result_.timings.drafted_tokens += static_cast<int64_t>(draft.size());
  result_.timings.draft_seconds += seconds_now() - begin;
  return drafts;
}

// Draws for the live sequences from `first` on, whose rows of `logits` follow each other: one for
// the last token and one for each token of the draft. A sequence draws from row to row as it would
// from pass to pass, as long as what it draws is what was drafted. Retires what is finished.
void GenerationRun::draw(const at::Tensor& logits, size_t first, const Drafts& drafts) {
  struct Walk {
    size_t sequence;
    const float* row;
    std::span<const TokenId> draft;  // yet to be confirmed
    int64_t accepted = 0;
    bool rejected = false;
  };
  const double begin = seconds_now();
  const int64_t width = logits.size(1);
  if (width < rules_.vocabulary.size) {
    fail("the model gives {} logits, the vocabulary has {} tokens", width, rules_.vocabulary.size);
  }
  std::vector<Walk> walks;
  const float* row = logits.const_data_ptr<float>();
  for (size_t i = first; i < live_.size(); ++i) {
    const std::span<const TokenId> draft =
        drafts.empty() ? std::span<const TokenId>() : std::span(drafts[i]);
    walks.push_back({.sequence = i, .row = row, .draft = draft});
    row += (static_cast<int64_t>(draft.size()) + 1) * width;
  }
  std::vector<Walk*> going;
  for (Walk& walk : walks) going.push_back(&walk);
  scratch_.resize(std::max(scratch_.size(), going.size()));
  while (!going.empty()) {
    at::parallel_for(0, static_cast<int64_t>(going.size()), 1, [&](int64_t from, int64_t to) {
      for (auto i = static_cast<size_t>(from); i < static_cast<size_t>(to); ++i) {
        live_[going[i]->sequence].sample({going[i]->row, static_cast<size_t>(width)}, scratch_[i]);
      }
    });
    if (result_.timings.decoded_tokens == 0)
      result_.timings.first_token_seconds = seconds_now() - start_;
    result_.timings.decoded_tokens += static_cast<int64_t>(going.size());
    std::erase_if(going, [&](Walk* walk) {
      Sequence& sequence = live_[walk->sequence];
      const std::string bytes = sequence.accept();
      if (on_token_) on_token_(sequence.completion(), bytes);
      if (walk->draft.empty()) return true;
      walk->rejected = sequence.last_token() != walk->draft.front();
      if (walk->rejected) return true;
      ++walk->accepted;
      walk->draft = walk->draft.subspan(1);
      walk->row += width;
      return sequence.finished();
    });
  }
  for (const Walk& walk : walks) {
    Sequence& sequence = live_[walk.sequence];
    decoder_.truncate(sequence.cache_id, sequence.length() - 1);
    result_.timings.accepted_tokens += walk.accepted;
    if (walk.accepted > 0 || walk.rejected)
      drafter_->learn(name_of(sequence), walk.accepted, walk.rejected);
  }
  std::erase_if(live_, [&](Sequence& sequence) {
    if (!sequence.finished()) return false;
    retire(sequence);
    return true;
  });
  result_.timings.sampling_seconds += seconds_now() - begin;
}

void GenerationRun::retire(Sequence& sequence) {
  if (sequence.cache_id >= 0) decoder_.end(sequence.cache_id, sequence.history());
  if (drafter_) drafter_->forget(name_of(sequence));
  result_.completions[static_cast<size_t>(name_of(sequence))] = std::move(sequence.completion());
}

void GenerationRun::end(Sequence& sequence, FinishReason reason) {
  const std::string bytes = sequence.finish(reason);
  if (on_token_ && !bytes.empty()) on_token_(sequence.completion(), bytes);
  retire(sequence);
}

void GenerationRun::finish_all(FinishReason reason) {
  for (Sequence& sequence : live_) end(sequence, reason);
  live_.clear();
  for (; next_ < total(); ++next_) {
    Sequence sequence = make_sequence(next_);
    end(sequence, reason);
  }
}

}  // namespace continuo
