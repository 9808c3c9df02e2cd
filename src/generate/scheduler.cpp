#include "generate/scheduler.h"

#include <algorithm>

#include <ATen/Parallel.h>

#include "core/error.h"
#include "core/process.h"

namespace continuo {

Scheduler::Scheduler(CachedDecoder& decoder, const SchedulerOptions& options, Drafter* drafter)
    : decoder_(decoder),
      options_(options),
      drafter_(drafter),
      pass_time_(decoder.pass_time()),
      pass_cost_(decoder.pass_cost()) {}

// What an error left behind must not stay with those who outlive this.
Scheduler::~Scheduler() {
  for (const Prefix& prefix : prefixes_) decoder_.drop(prefix.cache_id);
  for (const Live& live : live_) {
    decoder_.drop(live.sequence.cache_id);
    if (drafter_) drafter_->forget(live.name);
  }
}

Scheduler::Id Scheduler::submit(Request request) {
  if (request.prompt.empty() || !request.rules || !request.sink)
    fail("a request needs a prompt, rules and a sink");
  const int64_t width = decoder_.spec().embedding.vocabulary;
  if (width < request.rules->vocabulary->size) {
    fail("the model gives {} logits, the vocabulary has {} tokens", width,
         request.rules->vocabulary->size);
  }
  const Id id = next_id_.fetch_add(1);
  const std::lock_guard lock(mailbox_mutex_);
  arrived_.push_back({.id = id, .request = std::move(request), .first_name = 0});
  return id;
}

void Scheduler::cancel(Id id) {
  const std::lock_guard lock(mailbox_mutex_);
  cancelled_.push_back(id);
}

void Scheduler::read_mailbox() {
  std::vector<Submitted> arrived;
  std::vector<Id> cancelled;
  {
    const std::lock_guard lock(mailbox_mutex_);
    arrived.swap(arrived_);
    cancelled.swap(cancelled_);
  }
  for (Submitted& submitted : arrived) {
    if (requests_.empty() && timings_.decoded_tokens == 0) first_arrival_ = seconds_now();
    submitted.open = submitted.request.samples;
    submitted.first_name = next_name_;
    next_name_ += submitted.request.samples;
    requests_.push_back(std::move(submitted));
    queue_.push_back(&requests_.back());
  }
  for (const Id id : cancelled) {
    for (Submitted& submitted : requests_) submitted.cancelled |= submitted.id == id;
  }
}

// Ends the requests that were cancelled, whose time is over or whose prompt leaves no room.
void Scheduler::expire() {
  const double now = seconds_now();
  for (Submitted& submitted : requests_) {
    const Request& request = submitted.request;
    if (submitted.cancelled) {
      end_request(submitted, FinishReason::kInterrupted);
    } else if (request.deadline && now >= *request.deadline) {
      end_request(submitted, FinishReason::kTime);
    } else if (std::ssize(request.prompt) >= request.rules->context) {
      end_request(submitted, FinishReason::kContext);
    }
  }
  forget_finished();
}

void Scheduler::forget_finished() {
  std::erase_if(queue_, [](const Submitted* submitted) { return submitted->open == 0; });
  requests_.remove_if([](const Submitted& submitted) { return submitted.open == 0; });
}

Sequence Scheduler::make_sequence(const Submitted& submitted, int64_t sample) const {
  const Request& request = submitted.request;
  Sequence sequence(request.rules, request.prompt,
                    Noise(request.seed, request.key, static_cast<uint64_t>(sample)));
  sequence.completion().prompt = request.index;
  sequence.completion().sample = sample;
  return sequence;
}

// Every live sequence has a place, and every prompt that is being read: its first sample's.
int64_t Scheduler::places_taken() const {
  return std::ssize(live_) + std::ranges::count_if(prefixes_, [](const Prefix& prefix) {
           return !prefix.logits.defined();
         });
}

void Scheduler::admit() {
  start_samples();
  while (admit_next()) {
  }
}

bool Scheduler::admit_next() {
  if (queue_.empty() || places_taken() >= options_.max_batch) return false;
  const auto next =
      std::max_element(queue_.begin(), queue_.end(), [](const Submitted* a, const Submitted* b) {
        return a->request.priority < b->request.priority;
      });
  Submitted& submitted = **next;
  queue_.erase(next);
  const Request& request = submitted.request;
  const int64_t cache_id = decoder_.begin(request.prompt, request.adapter);
  timings_.reused_tokens += decoder_.length(cache_id);
  prefixes_.push_back({.of = &submitted, .cache_id = cache_id});
  return true;
}

// Samples of prompts that are read, as long as there are places: each draws its first token.
void Scheduler::start_samples() {
  for (auto prefix = prefixes_.begin(); prefix != prefixes_.end();) {
    Submitted& submitted = *prefix->of;
    while (prefix->logits.defined() && submitted.next_sample < submitted.request.samples &&
           places_taken() < options_.max_batch) {
      const int64_t sample = submitted.next_sample++;
      const bool last = submitted.next_sample == submitted.request.samples;
      Live live = {.of = &submitted,
                   .name = submitted.first_name + sample,
                   .sequence = make_sequence(submitted, sample)};
      live.sequence.cache_id = last ? prefix->cache_id : decoder_.fork(prefix->cache_id);
      live_.push_back(std::move(live));
      if (last) prefix->cache_id = -1;
      draw(prefix->logits, live_.size() - 1, {});
    }
    prefix = prefix->cache_id < 0 ? prefixes_.erase(prefix) : std::next(prefix);
  }
}

bool Scheduler::step() {
  read_mailbox();
  expire();
  admit();
  forget_finished();
  if (live_.empty() && prefixes_.empty()) return !queue_.empty() || !requests_.empty();
  run_pass(draft());
  forget_finished();
  return true;
}

Scheduler::Drafts Scheduler::draft() {
  if (!drafter_ || live_.empty()) return {};
  const double begin = seconds_now();
  const DraftCost cost{.time = pass_time_, .live = std::ssize(live_)};
  std::vector<DraftQuery> queries;
  for (const Live& live : live_) {
    const Sequence& sequence = live.sequence;
    queries.push_back({.sequence = live.name,
                       .history = sequence.history(),
                       .prompt_length = sequence.prompt_length(),
                       .limit = std::min(live.of->request.draft_tokens, sequence.remaining() - 1),
                       .cost = cost,
                       .pass_cost = pass_cost_,
                       .chain = &sequence.chain(),
                       .noise = &sequence.noise()});
  }
  Drafts drafts = drafter_->draft(queries);
  for (const auto& draft : drafts) timings_.drafted_tokens += static_cast<int64_t>(draft.size());
  timings_.draft_seconds += seconds_now() - begin;
  return drafts;
}

// The prompts that go with the next pass, and how many tokens of each: those that came first.
std::vector<std::pair<Scheduler::Prefix*, int64_t>> Scheduler::choose_slices() {
  int64_t room = options_.prefill_chunk;
  if (options_.slowdown && !live_.empty()) room = slices_.limit(*options_.slowdown, room);
  std::vector<std::pair<Prefix*, int64_t>> slices;
  for (Prefix& prefix : prefixes_) {
    if (prefix.logits.defined() || room == 0) continue;
    const int64_t missing =
        std::ssize(prefix.of->request.prompt) - decoder_.length(prefix.cache_id);
    slices.emplace_back(&prefix, std::min(missing, room));
    room -= slices.back().second;
  }
  return slices;
}

// One more token for every live sequence, and as many as its draft has right; a slice of prompts.
void Scheduler::run_pass(const Drafts& drafts) {
  const double begin = seconds_now();
  std::vector<std::vector<TokenId>> tokens;
  std::vector<CachedDecoder::Piece> pieces;
  for (size_t i = 0; i < live_.size(); ++i) {
    // The last token, and before it what a cache that was cut back could not hold.
    const Sequence& sequence = live_[i].sequence;
    const auto missing =
        sequence.history().subspan(static_cast<size_t>(decoder_.length(sequence.cache_id)));
    tokens.emplace_back(missing.begin(), missing.end());
    if (!drafts.empty())
      tokens.back().insert(tokens.back().end(), drafts[i].begin(), drafts[i].end());
  }
  int64_t drawn_rows = 0, slice = 0;
  for (size_t i = 0; i < live_.size(); ++i) {
    const int64_t wanted = 1 + (drafts.empty() ? 0 : std::ssize(drafts[i]));
    pieces.push_back({live_[i].sequence.cache_id, tokens[i], wanted});
    drawn_rows += wanted;
  }
  const auto slices = choose_slices();
  for (const auto& [prefix, count] : slices) {
    const auto prompt = std::span<const TokenId>(prefix->of->request.prompt);
    const int64_t held = decoder_.length(prefix->cache_id);
    const bool whole = held + count == std::ssize(prompt);
    pieces.push_back({prefix->cache_id,
                      prompt.subspan(static_cast<size_t>(held), static_cast<size_t>(count)),
                      whole ? 1 : 0});
    slice += count;
  }
  const LogitRows logits(decoder_.run(pieces), requests_.front().request.rules->vocabulary->size);
  const double seconds = seconds_now() - begin;
  if (!live_.empty()) slices_.observe(slice, seconds);
  const double share = static_cast<double>(slice) / static_cast<double>(slice + drawn_rows);
  timings_.prefill_seconds += share * seconds;
  timings_.decode_seconds += (1 - share) * seconds;
  timings_.prompt_tokens += slice;
  timings_.passes += std::ssize(live_);
  int64_t row = drawn_rows;
  for (size_t i = 0; i < slices.size(); ++i) {
    if (pieces[pieces.size() - slices.size() + i].wanted == 1)
      slices[i].first->logits = logits.from(row++);
  }
  if (drawn_rows > 0) draw(logits, 0, drafts);
}

// Draws for the live sequences from `first` on, whose rows of `logits` follow each other: one for
// the last token and one for each token of the draft. A sequence draws from row to row as it would
// from pass to pass, as long as what it draws is what was drafted. Retires what is finished.
void Scheduler::draw(const LogitRows& logits, size_t first, const Drafts& drafts) {
  struct Walk {
    size_t live;
    int64_t row;
    std::span<const TokenId> draft;  // yet to be confirmed
    int64_t accepted = 0;
    bool rejected = false;
  };
  const double begin = seconds_now();
  std::vector<Walk> walks;
  int64_t row = 0;
  for (size_t i = first; i < live_.size(); ++i) {
    const std::span<const TokenId> draft =
        drafts.empty() ? std::span<const TokenId>() : std::span(drafts[i]);
    walks.push_back({.live = i, .row = row, .draft = draft});
    row += static_cast<int64_t>(draft.size()) + 1;
  }
  std::vector<Walk*> going;
  for (Walk& walk : walks) going.push_back(&walk);
  scratch_.resize(std::max(scratch_.size(), going.size()));
  while (!going.empty()) {
    at::parallel_for(0, static_cast<int64_t>(going.size()), 1, [&](int64_t from, int64_t to) {
      for (auto i = static_cast<size_t>(from); i < static_cast<size_t>(to); ++i) {
        live_[going[i]->live].sequence.sample(logits.row(going[i]->row), scratch_[i]);
      }
    });
    if (timings_.decoded_tokens == 0) timings_.first_token_seconds = seconds_now() - first_arrival_;
    std::erase_if(going, [&](Walk* walk) {
      Live& live = live_[walk->live];
      const bool failed = !live.sequence.completion().error.empty();
      const std::string bytes = live.sequence.accept();
      timings_.decoded_tokens += failed ? 0 : 1;
      if (!failed || !bytes.empty()) emit(live, bytes);
      if (failed || walk->draft.empty()) return true;
      walk->rejected = live.sequence.last_token() != walk->draft.front();
      if (walk->rejected) return true;
      ++walk->accepted;
      walk->draft = walk->draft.subspan(1);
      ++walk->row;
      return live.sequence.finished();
    });
  }
  for (const Walk& walk : walks) {
    Live& live = live_[walk.live];
    decoder_.truncate(live.sequence.cache_id, live.sequence.length() - 1);
    timings_.accepted_tokens += walk.accepted;
    if (walk.accepted > 0 || walk.rejected)
      drafter_->learn(live.name, walk.accepted, walk.rejected);
  }
  std::erase_if(live_, [&](Live& live) {
    if (!live.sequence.finished()) return false;
    retire(live);
    return true;
  });
  timings_.sampling_seconds += seconds_now() - begin;
}

void Scheduler::emit(Live& live, std::string_view bytes) {
  Submitted& submitted = *live.of;
  if (!submitted.request.sink->token(live.sequence.completion(), bytes)) submitted.cancelled = true;
}

void Scheduler::retire(Live& live) {
  decoder_.end(live.sequence.cache_id);
  if (drafter_) drafter_->forget(live.name);
  --live.of->open;
  live.of->request.sink->finished(std::move(live.sequence.completion()));
}

// Ends samples that were not started.
void Scheduler::end_waiting_samples(Submitted& submitted, FinishReason reason) {
  for (; submitted.next_sample < submitted.request.samples; ++submitted.next_sample) {
    Sequence sequence = make_sequence(submitted, submitted.next_sample);
    sequence.finish(reason);
    --submitted.open;
    submitted.request.sink->finished(std::move(sequence.completion()));
  }
}

void Scheduler::end_request(Submitted& submitted, FinishReason reason) {
  std::erase_if(live_, [&](Live& live) {
    if (live.of != &submitted) return false;
    const std::string bytes = live.sequence.finish(reason);
    if (!bytes.empty() && !submitted.cancelled) emit(live, bytes);
    retire(live);
    return true;
  });
  end_waiting_samples(submitted, reason);
  prefixes_.remove_if([&](const Prefix& prefix) {
    if (prefix.of != &submitted) return false;
    decoder_.end(prefix.cache_id);
    return true;
  });
}

void Scheduler::finish_all(FinishReason reason) {
  read_mailbox();
  for (Submitted& submitted : requests_) end_request(submitted, reason);
  forget_finished();
}

}  // namespace continuo
