#include "generate/generator.h"

#include <algorithm>
#include <deque>
#include <optional>

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include "core/error.h"
#include "core/process.h"
#include "generate/sequence.h"

namespace continuo {
namespace {

// Evaluation mode for as long as this lives.
class EvalMode {
 public:
  explicit EvalMode(Decoder& decoder) : decoder_(decoder), was_training_(decoder.is_training()) {
    if (was_training_) decoder_.eval();
  }
  ~EvalMode() {
    if (was_training_) decoder_.train();
  }
  EvalMode(const EvalMode&) = delete;
  EvalMode& operator=(const EvalMode&) = delete;

 private:
  Decoder& decoder_;
  bool was_training_;
};

// Attention writes keys and values as it computes them, so the cache has the type of the products.
KVCache::Shape cache_shape(const Decoder& decoder) {
  const DecoderShape& shape = decoder.shape();
  const std::vector<at::Tensor> parameters = decoder.parameters();
  return {.layers = shape.layers,
          .kv_heads = shape.kv_heads,
          .head_dim = shape.head_dim,
          .dtype = decoder.compute().dtype,
          .device = parameters.empty() ? at::Device(at::kCPU) : parameters.front().device()};
}

at::Tensor index_tensor(const std::vector<int64_t>& values, at::Device device) {
  return at::tensor(at::IntArrayRef(values), at::kLong).to(device);
}

}  // namespace

// One call of `generate`: a queue of prompts, a prefix whose samples are being admitted, and the
// live sequences that a step advances by one token.
class GenerationRun {
 public:
  GenerationRun(Generator& generator, std::span<const std::vector<TokenId>> prompts,
                const Generator::OnToken& on_token, const std::function<bool()>& interrupted,
                std::span<const uint64_t> keys)
      : generator_(generator),
        config_(generator.config_),
        decoder_(generator.decoder_),
        prompts_(prompts),
        on_token_(on_token),
        interrupted_(interrupted),
        keys_(keys),
        cache_(cache_shape(generator.decoder_)),
        rules_{generator.vocabulary_, config_.max_new_tokens, generator.context_,
               config_.ignore_eos} {}

  GenerationResult run() {
    result_.completions.resize(prompts_.size() * static_cast<size_t>(config_.samples));
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

 private:
  // A prompt in the cache with the logits after it, kept until all its samples are admitted.
  struct Prefix {
    int64_t cache_id;
    at::Tensor logits;  // [1, V] float, CPU
  };

  std::optional<FinishReason> halted() const {
    if (interrupted_ && interrupted_()) return FinishReason::kInterrupted;
    if (config_.time_limit && seconds_now() - start_ >= *config_.time_limit) {
      return FinishReason::kTime;
    }
    return std::nullopt;
  }

  size_t total() const { return result_.completions.size(); }
  size_t prompt_of(size_t index) const { return index / static_cast<size_t>(config_.samples); }

  Sequence make_sequence(size_t index) const {
    const size_t prompt = prompt_of(index);
    const size_t sample = index % static_cast<size_t>(config_.samples);
    const uint64_t key = keys_.empty() ? prompt : keys_[prompt];
    Sequence sequence(&rules_, prompts_[prompt],
                      Noise(static_cast<uint64_t>(config_.seed), key, sample),
                      generator_.chain_.clone(), generator_.stops_);
    sequence.completion().prompt = static_cast<int64_t>(prompt);
    sequence.completion().sample = static_cast<int64_t>(sample);
    return sequence;
  }

  // Starts the next completion of the queue and draws its first token; false when there is no room
  // or none left.
  bool admit_one() {
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
    sequence.cache_id = last ? prefix_->cache_id : cache_.fork(prefix_->cache_id);
    if (last) prefix_.reset();
    live_.push_back(std::move(sequence));
    draw(logits, live_.size() - 1);
    return true;
  }

  // The prompt alone, in chunks, so that its logits depend on nothing else.
  Prefix prefill(const std::vector<TokenId>& prompt) {
    const double begin = seconds_now();
    Prefix prefix{.cache_id = cache_.add(), .logits = {}};
    const auto size = static_cast<int64_t>(prompt.size());
    at::Tensor hidden;
    for (int64_t from = 0; from < size; from += config_.prefill_chunk) {
      const int64_t to = std::min(size, from + config_.prefill_chunk);
      std::vector<int64_t> tokens(prompt.begin() + from, prompt.begin() + to);
      std::vector<int64_t> positions(tokens.size());
      for (size_t i = 0; i < positions.size(); ++i) positions[i] = from + static_cast<int64_t>(i);
      hidden = forward(tokens, positions, {0, to - from}, {prefix.cache_id});
    }
    prefix.logits = to_host(decoder_.logits(hidden.narrow(0, hidden.size(0) - 1, 1)));
    result_.timings.prefill_seconds += seconds_now() - begin;
    result_.timings.prompt_tokens += size;
    return prefix;
  }

  // One more token for every live sequence.
  void step() {
    const double begin = seconds_now();
    std::vector<int64_t> tokens, positions, boundaries{0}, cache_ids;
    for (const Sequence& sequence : live_) {
      tokens.push_back(sequence.last_token());
      positions.push_back(sequence.length() - 1);
      cache_ids.push_back(sequence.cache_id);
      boundaries.push_back(static_cast<int64_t>(tokens.size()));
    }
    const at::Tensor logits =
        to_host(decoder_.logits(forward(tokens, positions, std::move(boundaries), cache_ids)));
    result_.timings.decode_seconds += seconds_now() - begin;
    draw(logits, 0);
  }

  at::Tensor forward(const std::vector<int64_t>& tokens, const std::vector<int64_t>& positions,
                     std::vector<int64_t> boundaries, const std::vector<int64_t>& cache_ids) {
    const at::Device device = cache_.shape().device;
    cache_.activate(cache_ids);
    return decoder_.forward({.tokens = index_tensor(tokens, device),
                             .positions = index_tensor(positions, device),
                             .boundaries = std::move(boundaries)},
                            &cache_);  // [N, hidden]
  }

  at::Tensor to_host(const at::Tensor& logits) const {
    const at::Tensor host = logits.to(at::kCPU, at::kFloat).contiguous();
    if (host.size(1) < rules_.vocabulary.size) {
      fail("the model gives {} logits, the vocabulary has {} tokens", host.size(1),
           rules_.vocabulary.size);
    }
    return host;
  }

  // Row i of `logits` belongs to live_[first + i]. Draws, accepts, and retires what is finished.
  void draw(const at::Tensor& logits, size_t first) {
    const double begin = seconds_now();
    const int64_t rows = logits.size(0), width = logits.size(1);
    const float* data = logits.const_data_ptr<float>();
    scratch_.resize(std::max(scratch_.size(), static_cast<size_t>(rows)));
    at::parallel_for(0, rows, 1, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) {
        live_[first + static_cast<size_t>(i)].sample({data + i * width, static_cast<size_t>(width)},
                                                     scratch_[static_cast<size_t>(i)]);
      }
    });
    if (result_.timings.decoded_tokens == 0) {
      result_.timings.first_token_seconds = seconds_now() - start_;
    }
    result_.timings.decoded_tokens += rows;
    for (size_t i = first; i < live_.size(); ++i) {
      const std::string bytes = live_[i].accept();
      if (on_token_) on_token_(live_[i].completion(), bytes);
    }
    std::erase_if(live_, [&](Sequence& sequence) {
      if (!sequence.finished()) return false;
      retire(sequence);
      return true;
    });
    result_.timings.sampling_seconds += seconds_now() - begin;
  }

  void retire(Sequence& sequence) {
    if (sequence.cache_id >= 0) cache_.remove(sequence.cache_id);
    Completion& completion = sequence.completion();
    const auto index = static_cast<size_t>(completion.prompt * config_.samples + completion.sample);
    result_.completions[index] = std::move(completion);
  }

  void end(Sequence& sequence, FinishReason reason) {
    const std::string bytes = sequence.finish(reason);
    if (on_token_ && !bytes.empty()) on_token_(sequence.completion(), bytes);
    retire(sequence);
  }

  void finish_all(FinishReason reason) {
    for (Sequence& sequence : live_) end(sequence, reason);
    live_.clear();
    for (; next_ < total(); ++next_) {
      Sequence sequence = make_sequence(next_);
      end(sequence, reason);
    }
  }

  Generator& generator_;
  const GenerationConfig& config_;
  Decoder& decoder_;
  std::span<const std::vector<TokenId>> prompts_;
  const Generator::OnToken& on_token_;
  const std::function<bool()>& interrupted_;
  std::span<const uint64_t> keys_;
  KVCache cache_;
  SequenceRules rules_;
  double start_ = seconds_now();
  size_t next_ = 0;  // completion that is admitted next
  std::optional<Prefix> prefix_;
  std::vector<Sequence> live_;
  std::vector<Candidates> scratch_;
  GenerationResult result_;
};

std::string_view name(FinishReason reason) {
  constexpr std::string_view kNames[] = {"eos", "stop", "length", "context", "time", "interrupted"};
  return kNames[static_cast<size_t>(reason)];
}

Generator::Generator(Decoder& decoder, Vocabulary vocabulary, const GenerationConfig& config)
    : decoder_(decoder), vocabulary_(std::move(vocabulary)), config_(config) {
  Problems problems;
  validate(config_, problems);
  problems.raise();
  if (!config_.eos.empty()) {
    // What ended sequences until now stays special: penalties go on sparing it.
    vocabulary_.specials.insert(vocabulary_.specials.end(), vocabulary_.eos.begin(),
                                vocabulary_.eos.end());
    vocabulary_.eos.clear();
    for (int64_t id : config_.eos) {
      if (id < 0 || id >= vocabulary_.size) {
        fail("eos: token id {} is not in the vocabulary of {} tokens", id, vocabulary_.size);
      }
      vocabulary_.eos.push_back(static_cast<TokenId>(id));
    }
  }
  chain_ = SamplerChain(resolve_chain(config_), vocabulary_);
  stops_ = std::make_shared<StopStrings>(config_.stop);
  context_ = decoder_.shape().context;
  if (config_.context) context_ = std::min(context_, *config_.context);
}

Generator::~Generator() = default;
Generator::Generator(Generator&&) noexcept = default;

GenerationResult Generator::generate(std::span<const std::vector<TokenId>> prompts,
                                     const OnToken& on_token,
                                     const std::function<bool()>& interrupted,
                                     std::span<const uint64_t> keys) {
  if (prompts.empty()) fail("there is no prompt to continue");
  if (!keys.empty() && keys.size() != prompts.size()) {
    fail("{} sequence keys for {} prompts", keys.size(), prompts.size());
  }
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (prompts[i].empty()) {
      throw Error(fmt::format("prompt {} is empty", i), "begin it with at least the BOS token");
    }
    if (static_cast<int64_t>(prompts[i].size()) > context_) {
      throw Error(fmt::format("prompt {} has {} tokens, the context holds {}", i, prompts[i].size(),
                              context_),
                  "shorten the prompt, or use a model with a longer context");
    }
    for (TokenId id : prompts[i]) {
      if (id < 0 || id >= vocabulary_.size) {
        fail("prompt {}: token id {} is not in the vocabulary of {} tokens", i, id,
             vocabulary_.size);
      }
    }
  }
  const at::NoGradGuard
      no_grad;  // not InferenceMode: tables that the model caches must stay trainable
  const EvalMode eval(decoder_);
  return GenerationRun(*this, prompts, on_token, interrupted, keys).run();
}

}  // namespace continuo
