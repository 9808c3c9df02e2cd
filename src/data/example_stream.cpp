#include "data/example_stream.h"

#include <algorithm>
#include <cmath>

#include "core/random.h"
#include "data/packing.h"

namespace continuo {

void fields(FieldVisitor& v, BatchConfig& c) {
  v.field("rows", c.rows, "Rows of an optimizer step; 0: as many as `tokens` allows.",
          Range::at_least(0));
  v.field("tokens", c.tokens,
          "Tokens of an optimizer step, prompts included; 0: as many as `rows` says.",
          Range::at_least(0));
  v.field("micro_tokens", c.micro_tokens,
          "Tokens of one forward and backward pass; larger steps accumulate gradients (same "
          "result, less memory).",
          Range::at_least(1));
  v.field("shuffle", c.shuffle, "A new order every epoch; false: the order of the files.");
  v.field("seed", c.seed, "Seed of the order.");
}

void validate(const BatchConfig& config, const ConfigNode& root, std::string_view key,
              Problems& problems) {
  if (config.rows > 0 || config.tokens > 0) return;
  problems.add(locate(root, std::string(key) + ".rows"),
               fmt::format("{}.rows and {}.tokens are both 0", key, key),
               "give one of them: it is the size of an optimizer step");
}

// One stretch of the epoch per source: its full passes, then its fraction.
struct ExampleStream::Order {
  struct Stretch {
    int64_t begin = 0;     // in the unshuffled epoch
    int64_t first = 0;     // group in the store
    int64_t groups = 0;    // of the source
    int64_t full = 0;      // positions of full passes: a multiple of `groups`
    int64_t fraction = 0;  // positions after them
  };
  std::vector<Stretch> stretches;
  int64_t size = 0;
};

ExampleStream::ExampleStream(std::shared_ptr<const ExampleStore> store,
                             std::vector<double> source_weights, BatchConfig config, int64_t ranks)
    : store_(std::move(store)), config_(config), ranks_(ranks) {
  if (config_.rows <= 0 && config_.tokens <= 0)
    fail("an optimizer step needs a number of rows or of tokens");
  if (config_.micro_tokens <= 0)
    fail("micro_tokens is {}, it must be at least 1", config_.micro_tokens);
  if (source_weights.empty()) {
    for (int64_t s = 0; s < store_->sources(); ++s) source_weights.push_back(store_->weight(s));
  }
  if (static_cast<int64_t>(source_weights.size()) != store_->sources()) {
    fail("there are {} weights for {} sources", source_weights.size(), store_->sources());
  }
  auto order = std::make_shared<Order>();
  for (int64_t s = 0; s < store_->sources(); ++s) {
    const double weight = source_weights[static_cast<size_t>(s)];
    if (!(weight >= 0) || weight > 1e6)
      fail("the weight of {} is {}", store_->source_name(s), weight);
    const auto [begin, end] = store_->source_groups(s);
    const int64_t groups = end - begin;
    const int64_t full = static_cast<int64_t>(std::floor(weight)) * groups;
    const auto fraction = static_cast<int64_t>(
        std::llround((weight - std::floor(weight)) * static_cast<double>(groups)));
    if (full + fraction == 0) continue;
    order->stretches.push_back({order->size, begin, groups, full, fraction});
    order->size += full + fraction;
  }
  if (order->size == 0) fail("there are no examples to train on");
  order_ = std::move(order);
}

int64_t ExampleStream::epoch_size() const { return order_->size; }

int64_t ExampleStream::positions(int64_t group) const {
  const auto [begin, end] = store_->group_range(group);
  int64_t count = 0;
  for (int64_t row = begin; row < end; ++row) count += store_->length(row) - 1;
  return count;
}

double ExampleStream::cost(int64_t group) const {
  // Attention over n tokens costs as much as the products of one of them times n; in models of all
  // sizes it has caught up with the products at some thousand tokens.
  constexpr double kAttentionCatchesUp = 8192;
  const auto [begin, end] = store_->group_range(group);
  double sum = 0;
  for (int64_t row = begin; row < end; ++row) {
    const auto length = static_cast<double>(store_->length(row) - 1);
    sum += length * (1 + length / kAttentionCatchesUp);
  }
  return sum;
}

int64_t ExampleStream::group(const StreamCursor& at) const {
  const auto seed = static_cast<uint64_t>(config_.seed);
  const auto epoch = static_cast<uint64_t>(at.epoch);
  const int64_t position =
      config_.shuffle ? Permutation(order_->size, seed, epoch)(at.index) : at.index;
  const auto next =
      std::upper_bound(order_->stretches.begin(), order_->stretches.end(), position,
                       [](int64_t p, const Order::Stretch& stretch) { return p < stretch.begin; });
  const Order::Stretch& stretch = *(next - 1);
  const int64_t inside = position - stretch.begin;
  if (inside < stretch.full) return stretch.first + inside % stretch.groups;
  // A stream of its own per source, so that the draws of two sources have nothing in common.
  const uint64_t draw = Random(seed, "source fraction").bits(static_cast<uint64_t>(stretch.first));
  return stretch.first + Permutation(stretch.groups, draw, epoch)(inside - stretch.full);
}

StepRows ExampleStream::next() {
  std::vector<int64_t> groups, lengths;
  int64_t tokens = 0;
  StreamCursor at = cursor_;
  for (; at.index < order_->size; ++at.index) {
    if (config_.rows > 0 && std::ssize(groups) == config_.rows) break;
    const int64_t candidate = group(at);
    const int64_t length = positions(candidate);
    if (config_.tokens > 0 && !groups.empty() && tokens + length > config_.tokens) break;
    groups.push_back(candidate);
    lengths.push_back(length);
    tokens += length;
  }
  StepRows step;
  step.epoch = cursor_.epoch;
  std::vector<double> costs;
  for (const int64_t group : groups) costs.push_back(cost(group));
  const auto dealt = deal_by_cost(costs, ranks_);
  for (size_t rank = 0; rank < dealt.size(); ++rank) {
    const std::vector<int64_t>& own = dealt[rank];
    std::vector<int64_t> sizes;
    for (const int64_t item : own) sizes.push_back(lengths[static_cast<size_t>(item)]);
    for (const auto& packed : pack_first_fit_decreasing(sizes, config_.micro_tokens)) {
      step.ranks.push_back(static_cast<int64_t>(rank));
      std::vector<int64_t>& rows = step.micro_batches.emplace_back();
      for (const int64_t item : packed) {
        const auto group = groups[static_cast<size_t>(own[static_cast<size_t>(item)])];
        const auto [begin, end] = store_->group_range(group);
        for (int64_t row = begin; row < end; ++row) rows.push_back(row);
      }
    }
  }
  cursor_ = at.index == order_->size ? StreamCursor{at.epoch + 1, 0} : at;
  return step;
}

void ExampleStream::seek(const StreamCursor& cursor) {
  if (cursor.epoch < 0 || cursor.index < 0 || cursor.index > order_->size) {
    throw Error(fmt::format("the data has no position {} in epoch {}: an epoch has {} rows",
                            cursor.index, cursor.epoch, order_->size),
                "was the run started with other data, weights or length settings?");
  }
  cursor_ = cursor.index == order_->size ? StreamCursor{cursor.epoch + 1, 0} : cursor;
}

std::vector<std::vector<int64_t>> evaluation_batches(const ExampleStore& store,
                                                     int64_t micro_tokens) {
  std::vector<std::vector<int64_t>> batches;
  int64_t room = 0;
  for (int64_t row = 0; row < store.size(); ++row) {
    const int64_t length = store.length(row) - 1;
    if (batches.empty() || length > room) {
      batches.emplace_back();
      room = micro_tokens;
    }
    batches.back().push_back(row);
    room -= length;
  }
  return batches;
}

}  // namespace continuo
