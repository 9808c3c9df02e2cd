// Many requests, one model: a pass is a row for every live sequence, with its drafted tokens, and a
// slice of the prompts that are yet to be read. Requests come and are cancelled from any thread;
// one thread steps. A request that fails ends alone, and none changes the tokens of another.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <list>
#include <mutex>
#include <optional>
#include <vector>

#include "generate/cached_decoder.h"
#include "generate/draft/drafter.h"
#include "generate/logit_rows.h"
#include "generate/request.h"
#include "generate/slice_size.h"

namespace continuo {

struct SchedulerOptions {
  int64_t max_batch = 32;       // live sequences
  int64_t prefill_chunk = 512;  // prompt tokens of a pass at most
  // A pass with a slice of prompts may take so many times as long as one without, where sequences
  // are live; nothing: prompts are read as fast as can be.
  std::optional<double> slowdown = {};
};

class Scheduler {
 public:
  using Id = uint64_t;

  // `decoder` and `drafter` outlive this. Without a drafter a pass gives one token.
  Scheduler(CachedDecoder& decoder, const SchedulerOptions& options, Drafter* drafter = nullptr);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // From any thread; they take effect at the start of the next step. A cancelled request's
  // completions end as interrupted, with what they have. Error: no prompt, rules or sink; a
  // vocabulary that is larger than the model's.
  Id submit(Request request);
  void cancel(Id id);

  // One pass. False: there is nothing to do. Errors of the executor leave the scheduler unusable.
  bool step();
  // Ends everything for this reason.
  void finish_all(FinishReason reason);

  const GenerationTimings& timings() const { return timings_; }

 private:
  using Drafts = std::vector<std::vector<TokenId>>;  // one for each live sequence

  struct Submitted {
    Id id;
    Request request;
    int64_t first_name;  // its samples' names among all sequences
    bool cancelled = false;
    int64_t next_sample = 0;
    int64_t open = 0;  // samples that are neither started nor finished, and those that are live
  };
  // A prompt in the cache, kept until all its samples are started.
  struct Prefix {
    Submitted* of;
    int64_t cache_id;
    LogitRows logits = {};  // the row after it, once it is read
  };
  struct Live {
    Submitted* of;
    int64_t name;
    Sequence sequence;
  };

  void read_mailbox();
  void expire();
  void admit();
  bool admit_next();
  int64_t places_taken() const;
  void start_samples();
  Drafts draft();
  void run_pass(const Drafts& drafts);
  std::vector<std::pair<Prefix*, int64_t>> choose_slices();
  void draw(const LogitRows& logits, size_t first, const Drafts& drafts);
  void emit(Live& live, std::string_view bytes);
  void retire(Live& live);
  void end_request(Submitted& submitted, FinishReason reason);
  void end_waiting_samples(Submitted& submitted, FinishReason reason);
  Sequence make_sequence(const Submitted& submitted, int64_t sample) const;
  void forget_finished();

  CachedDecoder& decoder_;
  SchedulerOptions options_;
  Drafter* drafter_;
  PassTime pass_time_;
  double pass_cost_;
  SliceSize slices_;

  std::mutex mailbox_mutex_;
  std::atomic<Id> next_id_{1};
  std::vector<Submitted> arrived_;  // guarded by the mutex, as are
  std::vector<Id> cancelled_;

  int64_t next_name_ = 0;
  std::list<Submitted> requests_;  // all that are not finished, in the order of their coming
  std::deque<Submitted*> queue_;   // those whose prompts are yet to be begun
  std::list<Prefix> prefixes_;
  std::vector<Live> live_;
  std::vector<Candidates> scratch_;
  GenerationTimings timings_;
  double first_arrival_ = 0;
};

}  // namespace continuo
