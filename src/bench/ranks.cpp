// `continuo bench ranks`: a training step on several ranks, with its messages and without them, and
// what that says of other numbers of ranks.
#include "app/ranks.h"

#include <algorithm>
#include <limits>
#include <map>
#include <thread>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <nlohmann/json.hpp>

#include "app/adapters.h"
#include "bench/bench.h"
#include "bench/commands.h"
#include "bench/random_step.h"
#include "bench/scaling.h"
#include "core/config/keys.h"
#include "core/process.h"
#include "nn/named_parameters.h"
#include "train/make_gradients.h"
#include "train/optimizer.h"
#include "train/passing_weights.h"
#include "train/sft.h"
#include "train/step.h"

namespace continuo {
namespace {

struct RanksBenchConfig {
  BenchModelConfig base;
  DeviceConfig machine;
  RanksConfig ranks{.ranks = 2};
  ComputeType dtype = ComputeType::kFloat32;
  Shard shard = Shard::kOptimizer;
  int64_t rows = 8;
  int64_t row_tokens = 256;
  int64_t micro_tokens = 8192;
  int64_t steps = 4;
  double link_gb_per_s = 0;
  double message_us = 0;
  double tokens_per_s = 0;
};

void fields(FieldVisitor& v, RanksBenchConfig& c) {
  fields(v, c.machine);
  fields(v, c.ranks);
  v.field("dtype", c.dtype, "Products in fp32 or bf16, as `train.dtype`.");
  v.field("shard", c.shard, "As `train.shard`.");
  fields(v, c.base);
  v.field("rows", c.rows, "Rows of a step, over all ranks.", Range::at_least(1));
  v.field("row_tokens", c.row_tokens, "Tokens of a row.", Range::at_least(2));
  v.field("micro_tokens", c.micro_tokens, "Token budget of one forward/backward.",
          Range::at_least(1));
  v.field("steps", c.steps, "Measured steps of each kind.", Range::at_least(1));
  v.field("link_gb_per_s", c.link_gb_per_s, "Predict for this link; 0: the one measured.",
          Range::at_least(0));
  v.field("message_us", c.message_us, "Predict for this latency of a message; 0: as measured.",
          Range::at_least(0));
  v.field("tokens_per_s", c.tokens_per_s,
          "Predict for ranks that train the model at this rate; 0: as measured.",
          Range::at_least(0));
}

// The ranks of the run, or their silence: then what others would send is left as it is.
class Switched : public Communicator {
 public:
  explicit Switched(Communicator& real) : real_(real) {}
  void silence(bool silent) { silent_ = silent; }

  int64_t rank() const override { return real_.rank(); }
  int64_t size() const override { return real_.size(); }
  void enter(std::string stage) override { real_.enter(std::move(stage)); }
  Pending reduce_scatter(const at::Tensor& part, const at::Tensor& whole,
                         std::string_view what) override {
    if (!silent_) return real_.reduce_scatter(part, whole, what);
    part.copy_(whole.narrow(0, rank() * part.numel(), part.numel()));
    return {};
  }
  Pending all_gather(const at::Tensor& whole, const at::Tensor& part,
                     std::string_view what) override {
    if (!silent_) return real_.all_gather(whole, part, what);
    if (whole.is_alias_of(part)) return {};
    // Weights that come and go have to be some: the first ones of this size.
    at::Tensor& known = known_[{whole.numel(), whole.scalar_type()}];
    if (known.defined()) {
      whole.copy_(known);
    } else {
      real_.all_gather(whole, part, what).wait();
      known = whole.clone();
    }
    return {};
  }
  bool connect_gpus(at::Device own) override { return real_.connect_gpus(own); }
  std::vector<double> gather(std::span<const double> mine, std::string_view what) override {
    if (!silent_) return real_.gather(mine, what);
    std::vector<double> all;
    for (int64_t r = 0; r < size(); ++r) all.insert(all.end(), mine.begin(), mine.end());
    return all;
  }
  std::vector<std::string> gather_text(std::string_view mine, std::string_view what) override {
    if (!silent_) return real_.gather_text(mine, what);
    return std::vector<std::string>(static_cast<size_t>(size()), std::string(mine));
  }
  void stop(std::string_view reason) noexcept override { real_.stop(reason); }

 private:
  Communicator& real_;
  std::map<std::pair<int64_t, at::ScalarType>, at::Tensor> known_;
  bool silent_ = false;
};

// Seconds of a step, of the slowest rank: the mean over steps that follow each other, for what one
// leaves under way the next may wait for.
struct StepSeconds {
  double whole = 0, update = 0;
};

Model prepared_model(const RanksBenchConfig& c, const Compute& compute,
                     const std::string& directory) {
  Model model = open_bench_model(directory, c.base, compute, BenchUse::kTrained);
  model.decoder->set_compute({.dtype = compute.dtype});
  return model;
}

class RankBench {
 public:
  RankBench(const RanksBenchConfig& c, const Compute& compute, const std::string& directory,
            Communicator& ranks)
      : config_(c),
        ranks_(ranks),
        switched_(ranks),
        model_(prepared_model(c, compute, directory)),
        gradients_(
            make_gradients(*model_.decoder, trained_parameters(model_, {}), switched_, c.shard)),
        optimizer_(*gradients_, {.beta2 = 0.999, .weight_decay = 0}) {}

  StepSeconds measure(bool silent);
  // Of the sums' exchange alone, then of the weights'.
  std::pair<double, double> exchange_seconds();
  double message_seconds();
  double weight_bytes() const;
  double exchanges() const;  // bench/scaling.h
  // What the weights travel in; not the same shares on all ranks.
  double buckets() { return largest(static_cast<double>(gradients_->shares().size())); }

 private:
  TrainingStep step() const;
  double largest(double mine);

  const RanksBenchConfig& config_;
  Communicator& ranks_;
  Switched switched_;
  Model model_;
  std::unique_ptr<Gradients> gradients_;
  AdamW optimizer_;
  int64_t number_ = 0;
};

TrainingStep RankBench::step() const {
  const int64_t vocabulary = model_.decoder->spec().embedding.vocabulary;
  const RowLength row{config_.row_tokens / 4, config_.row_tokens - config_.row_tokens / 4};
  TrainingStep step;
  for (int64_t r = 0; r < ranks_.size(); ++r) {
    const int64_t own = config_.rows / ranks_.size() + (r < config_.rows % ranks_.size());
    TrainingStep some = random_step(std::vector<RowLength>(static_cast<size_t>(own), row),
                                    vocabulary, config_.micro_tokens);
    for (Batch& batch : some.micro_batches) {
      if (r == ranks_.rank()) {
        step.add(std::move(batch));
      } else {
        step.count(batch.counts());
      }
    }
  }
  return step;
}

double RankBench::largest(double mine) {
  return std::ranges::max(ranks_.gather({&mine, 1}, "the others' figures"));
}

StepSeconds RankBench::measure(bool silent) {
  SftObjective objective;
  double start = 0, updates = 0;
  for (int64_t i = 0; i <= config_.steps; ++i) {
    if (i == 1) {  // the first of its kind takes memory
      gradients_->wait();
      ranks_.barrier("the others' steps");
      start = seconds_now();
      updates = 0;
    }
    switched_.silence(silent);
    TrainingStep rows = step();
    const StepResult result =
        accumulate(rows, objective,
                   {.decoder = *model_.decoder, .gradients = *gradients_, .number = number_++});
    const double before = seconds_now();
    optimizer_.step(1e-5, result.gradient_norm);
    updates += seconds_now() - before;
    switched_.silence(false);
  }
  gradients_->wait();
  const auto steps = static_cast<double>(config_.steps);
  return {largest((seconds_now() - start) / steps), largest(updates / steps)};
}

std::pair<double, double> RankBench::exchange_seconds() {
  std::vector<at::Tensor> wholes, parts;
  const auto count = static_cast<int64_t>(buckets());
  const auto elements = static_cast<int64_t>(weight_bytes() / 4);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t part = elements / count / ranks_.size();
    wholes.push_back(at::zeros({part * ranks_.size()}));
    parts.push_back(at::empty({part}));
  }
  std::vector<double> sums, weights;
  for (int64_t i = 0; i <= config_.steps; ++i) {
    for (const bool reduce : {true, false}) {
      ranks_.barrier("the others' exchange");
      const double start = seconds_now();
      std::vector<Pending> pending;
      for (size_t b = 0; b < wholes.size(); ++b) {
        pending.push_back(reduce ? ranks_.reduce_scatter(parts[b], wholes[b], "a sum")
                                 : ranks_.all_gather(wholes[b], parts[b], "the parts"));
      }
      for (Pending& p : pending) p.wait();
      const double seconds = largest(seconds_now() - start);
      if (i > 0) (reduce ? sums : weights).push_back(seconds);
    }
  }
  return {median(sums), median(weights)};
}

double RankBench::message_seconds() {
  constexpr int kMessages = 300;
  const double start = seconds_now();
  for (int i = 0; i < kMessages; ++i) ranks_.barrier("the others");
  return (seconds_now() - start) / kMessages / static_cast<double>(ranks_.size() - 1);
}

double RankBench::weight_bytes() const {
  double bytes = 0;
  for (const auto& [name, parameter] : gradients_->parameters())
    bytes += static_cast<double>(parameter.nbytes());
  return bytes;
}

double RankBench::exchanges() const {
  if (config_.shard == Shard::kNone) return 2;
  const double width = static_cast<double>(c10::elementSize(model_.decoder->compute().dtype));
  const PassingWeights layers(*model_.decoder);
  const auto bytes = [&](const at::Tensor& parameter) {
    return static_cast<double>(parameter.numel()) * (layers.multiplies(parameter) ? width : 4);
  };
  double sent = 0;  // of weights
  const std::vector<std::vector<at::Tensor>> parts = model_.decoder->parts();
  for (size_t p = 0; config_.shard == Shard::kAll && p < parts.size(); ++p) {
    const bool end = p == 0 || p + 1 == parts.size();  // which a backward pass does not read
    for (const at::Tensor& parameter : parts[p]) sent += (end ? 1 : 2) * bytes(parameter);
  }
  const std::vector<NamedParameters> named = parameters_by_part(*model_.decoder);
  for (size_t p = 0; p < (config_.shard == Shard::kAll ? 1 : named.size()); ++p) {
    for (const auto& [name, parameter] : named[p]) sent += bytes(parameter);
  }
  return 1 + sent / weight_bytes();
}

void print_predictions(const RankFigures& f, double tokens_per_rank, const Compute& compute) {
  for (const double parameters : {f.weight_bytes / 4, 1e9, 8e9}) {
    const RankFigures figures = scaled(f, parameters * 4 / f.weight_bytes);
    const double alone = predict_step(figures, tokens_per_rank, 1).total();
    nlohmann::json ranks = nlohmann::json::array();
    for (int64_t r = 2; r <= 4096; r *= 2) {
      const StepCost cost = predict_step(figures, tokens_per_rank * static_cast<double>(r), r);
      ranks.push_back({{"ranks", r},
                       {"step_seconds", cost.total()},
                       {"waiting_share", cost.exchange / cost.total()},
                       {"latency_share", cost.messages / cost.total()},
                       {"efficiency", alone / cost.total()}});
    }
    print_bench_line({{"what", "ranks.predicted"},
                      {"parameters", parameters},
                      {"tokens_per_rank", tokens_per_rank},
                      {"one_rank_seconds", alone},
                      {"scaling", ranks}},
                     compute);
  }
}

int bench_as_rank(const std::string& directory, const RanksBenchConfig& c, Communicator& ranks) {
  const Compute compute = start_compute(c.machine, c.dtype, false);
  connect_gpus(ranks, compute.device, c.machine.cuda);
  RankBench bench(c, compute, directory, ranks);
  const StepSeconds silent = bench.measure(true), real = bench.measure(false);
  const auto [sums, weights] = bench.exchange_seconds();
  const double message = bench.message_seconds(), buckets = bench.buckets();
  if (!ranks.is_first()) return 0;

  const auto size = static_cast<double>(ranks.size());
  const auto tokens = static_cast<double>(c.rows * (c.row_tokens - 1));
  const double moved = bench.weight_bytes() * (size - 1) / size;
  // Ranks of this machine that each have cores of their own, with as many threads.
  const double undisturbed =
      std::thread::hardware_concurrency() / static_cast<double>(compute.threads);
  const double alone = std::min(1.0, undisturbed / size);
  const double updated = c.shard == Shard::kNone ? 1 : size;
  const double exchanges = bench.exchanges(), alone_seconds = sums + weights;
  RankFigures f{.seconds_per_token = alone * (silent.whole - silent.update) * size / tokens,
                .update_seconds = alone * silent.update * updated,
                .weight_bytes = bench.weight_bytes(),
                .buckets = buckets,
                .link_bytes_per_s = 2 * moved / alone_seconds,
                .message_seconds = message,
                .hidden = std::clamp(
                    1 - (real.whole - silent.whole) / (exchanges / 2 * alone_seconds), 0.0, 1.0),
                .shard_optimizer = c.shard != Shard::kNone,
                .exchanges = exchanges,
                .undisturbed_ranks = undisturbed};
  nlohmann::json few;
  for (const int64_t r : {1, 2, 3, 4}) few[std::to_string(r)] = predict_step(f, tokens, r).total();
  print_bench_line({{"what", "ranks"},
                    {"ranks", ranks.size()},
                    {"shard", enum_name(c.shard)},
                    {"tokens", tokens},
                    {"step_seconds", real.whole},
                    {"silent_step_seconds", silent.whole},
                    {"update_seconds", silent.update},
                    {"sums_seconds", sums},
                    {"weights_seconds", weights},
                    {"hidden_share", f.hidden},
                    {"real_tokens_per_s", tokens / real.whole},
                    {"link_gb_per_s", f.link_bytes_per_s / 1e9},
                    {"message_us", message * 1e6},
                    {"predicted_step_seconds", few}},
                   compute);
  f.undisturbed_ranks = std::numeric_limits<double>::infinity();
  if (c.link_gb_per_s > 0) f.link_bytes_per_s = c.link_gb_per_s * 1e9;
  if (c.message_us > 0) f.message_seconds = c.message_us / 1e6;
  if (c.tokens_per_s > 0) f.seconds_per_token = 1 / c.tokens_per_s;
  print_predictions(f, tokens / size, compute);
  return 0;
}

void bench_ranks(const std::string& directory, const RanksBenchConfig& config) {
  RanksBenchConfig c = config;
  const int code = run_ranks(c.ranks, c.machine, [&](Communicator& ranks) {
    if (ranks.size() < 2)
      throw Error("bench ranks measures messages: it takes two ranks or more", "Give ranks=2.");
    return bench_as_rank(directory, c, ranks);
  });
  if (code) throw CLI::RuntimeError(code);
}

}  // namespace

void add_bench_ranks_command(CLI::App& bench) {
  add_bench_model_command(bench, "ranks", "A training step on several ranks, and its scaling",
                          bench_ranks);
}

}  // namespace continuo
