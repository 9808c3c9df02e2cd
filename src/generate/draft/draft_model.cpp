#include "generate/draft/draft_model.h"

#include <algorithm>
#include <cmath>

#include <ATen/Parallel.h>

#include "core/error.h"
#include "generate/logit_rows.h"

namespace continuo {
namespace {

// Late tokens that go with the others' pass; more are caught up on beforehand.

constexpr size_t kTogether = 8;
constexpr size_t kConfidences = 8;  // tenths of probability up to 0.7, and above

size_t confidence_of(double probability) {
  return std::min(static_cast<size_t>(probability * 10), kConfidences - 1);
}

std::vector<AcceptanceRate> confidence_rates() {
  std::vector<AcceptanceRate> rates;
  for (size_t i = 0; i < kConfidences; ++i) rates.emplace_back(0.25 + 0.1 * static_cast<double>(i));
  return rates;
}

}  // namespace

// The tokens drafted so far for one query, and whether one more is worth a pass of the draft model.
class DraftModel::Attempt {
 public:
  Attempt(const DraftQuery& query, State& own, int64_t limit, double token_cost)
      : state(own),
        query_(query),
        limit_(limit),
        token_cost_(token_cost),
        chain_(query.chain->clone()),
        history_(query.history.begin(), query.history.end()) {
    state.rates.clear();
  }

  // `ahead`: the rate at which a token of unknown confidence is accepted. Goes on while one more
  // token gives more for its cost than those so far.
  bool goes_on(double ahead) const {
    const auto drafted = static_cast<int64_t>(tokens.size());
    if (failed_ || drafted >= limit_) return false;
    const double now = cost(drafted), then = cost(drafted + 1);
    return reached_ * ahead * now > (then - now) * expected_;
  }

  // Draws from the draft model's logits after all tokens so far.
  void sample(const LogitRow& row, const Vocabulary& vocabulary, Candidates& scratch) {
    const StageContext context{history_, query_.prompt_length, vocabulary, *query_.noise};
    try {
      const auto& [drawn, raw] = sample_row(row, chain_, context, scratch);
      confidence_ = confidence_of(std::exp(raw));
      tokens.push_back(drawn.id);
      history_.push_back(drawn.id);
    } catch (const Error&) {  // the model itself may do better; if not, it says so
      failed_ = true;
    }
  }

  void judge(std::span<const AcceptanceRate> rates) {
    if (failed_) return;
    state.rates.push_back(confidence_);
    reached_ *= rates[confidence_].value();
    expected_ += reached_;
  }

  double cost(int64_t count) const {
    return query_.cost(count) + token_cost_ * static_cast<double>(count);
  }

  // Tokens that the cache lacks.
  std::span<const TokenId> missing() const {
    return std::span(history_).subspan(state.cached.size());
  }

  State& state;
  std::vector<TokenId> tokens;

 private:
  const DraftQuery& query_;
  int64_t limit_;
  double token_cost_;  // of drafting one
  SamplerChain chain_;
  std::vector<TokenId> history_;
  bool failed_ = false;
  size_t confidence_ = 0;
  double reached_ = 1;   // probability that all tokens so far are accepted
  double expected_ = 1;  // tokens that a pass over the draft gives on average
};

DraftModel::DraftModel(Executor& executor, Vocabulary vocabulary, int64_t prefill_chunk,
                       int64_t adapter)
    : decoder_(executor, /*keeps=*/1),
      vocabulary_(std::move(vocabulary)),
      prefill_chunk_(prefill_chunk),
      adapter_(adapter),
      rates_(confidence_rates()),
      overall_(0.7) {
  const int64_t own = executor.spec().embedding.vocabulary;
  if (own < vocabulary_.size)
    fail("the draft model has {} tokens, the vocabulary {}", own, vocabulary_.size);
}

// Samples of one prompt share it, as do prompts that begin alike.
DraftModel::State DraftModel::begin(std::span<const TokenId> history) {
  State fresh;
  fresh.cache_id = decoder_.begin(history, adapter_);
  const int64_t held = decoder_.length(fresh.cache_id);
  fresh.cached.assign(history.begin(), history.begin() + held);
  return fresh;
}

// With a cache that holds a beginning of the history and lacks at least its last token.
DraftModel::State& DraftModel::state_of(const DraftQuery& query) {
  auto found = states_.find(query.sequence);
  if (found == states_.end()) found = states_.emplace(query.sequence, begin(query.history)).first;
  State& state = found->second;
  const size_t end = query.history.size() - 1;
  const size_t shared = std::min(shared_length(query.history, state.cached), end);
  const auto held =
      static_cast<size_t>(decoder_.truncate(state.cache_id, static_cast<int64_t>(shared)));
  state.cached.resize(held);
  if (end - held > kTogether) {
    decoder_.append(state.cache_id, query.history.subspan(held, end - held), prefill_chunk_);
    state.cached.assign(query.history.begin(), query.history.end() - 1);
  }
  return state;
}

std::vector<std::vector<TokenId>> DraftModel::draft(std::span<const DraftQuery> queries) {
  std::vector<Attempt> attempts;
  std::vector<size_t> of;  // index of an attempt's query
  const int64_t context = decoder_.spec().context;
  const double pass_cost = decoder_.pass_cost();
  const PassTime pass_time = decoder_.pass_time();
  for (size_t i = 0; i < queries.size(); ++i) {
    const DraftQuery& query = queries[i];
    const int64_t room = context - static_cast<int64_t>(query.history.size()) + 1;
    const int64_t limit = std::min(query.limit, room);
    const int64_t live = query.cost.live;
    const double token_cost =
        pass_cost * pass_time(live) / (query.pass_cost * query.cost.time(live));
    if (limit <= 0) continue;
    if (overall_.value() <= query.cost(1) - 1 + token_cost) {
      overall_.rest();
      continue;
    }
    attempts.emplace_back(query, state_of(query), limit, token_cost);
    of.push_back(i);
  }
  for (;;) {
    std::vector<size_t> going;
    for (size_t i = 0; i < attempts.size(); ++i) {
      if (attempts[i].goes_on(overall_.value())) going.push_back(i);
    }
    if (going.empty()) break;
    advance(attempts, going);
  }
  std::vector<std::vector<TokenId>> drafts(queries.size());
  for (size_t i = 0; i < attempts.size(); ++i) drafts[of[i]] = std::move(attempts[i].tokens);
  return drafts;
}

// One more token for each attempt named.
void DraftModel::advance(std::vector<Attempt>& attempts, const std::vector<size_t>& going) {
  std::vector<CachedDecoder::Piece> pieces;
  for (const size_t i : going)
    pieces.push_back({attempts[i].state.cache_id, attempts[i].missing()});
  const LogitRows logits(decoder_.run(pieces), vocabulary_.size);
  scratch_.resize(std::max(scratch_.size(), going.size()));
  for (size_t r = 0; r < going.size(); ++r) {
    State& state = attempts[going[r]].state;
    state.cached.insert(state.cached.end(), pieces[r].tokens.begin(), pieces[r].tokens.end());
  }
  at::parallel_for(0, static_cast<int64_t>(going.size()), 1, [&](int64_t from, int64_t to) {
    for (int64_t r = from; r < to; ++r) {
      const auto n = static_cast<size_t>(r);
      attempts[going[n]].sample(logits.row(r), vocabulary_, scratch_[n]);
    }
  });
  for (const size_t i : going) attempts[i].judge(rates_);
}

void DraftModel::learn(int64_t sequence, int64_t accepted, bool rejected) {
  const State& state = states_.at(sequence);
  overall_.observe(accepted, rejected);
  for (int64_t i = 0; i < accepted; ++i)
    rates_[state.rates[static_cast<size_t>(i)]].observe(1, false);
  if (rejected) rates_[state.rates[static_cast<size_t>(accepted)]].observe(0, true);
}

void DraftModel::forget(int64_t sequence) {
  const auto found = states_.find(sequence);
  if (found == states_.end()) return;
  decoder_.end(found->second.cache_id);
  states_.erase(found);
}

}  // namespace continuo
