#include "train/ranked_gradients.h"

#include <algorithm>
#include <set>
#include <utility>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include "core/error.h"
#include "train/storage_memory.h"

namespace continuo {

namespace {

// Buckets on their way at any one time: their copies are the memory that an exchange costs.
constexpr size_t kUnderWay = 3;

// Whether the decoder's passes ask for every one of the parameters that are trained: they do not
// for those of an adapter.
bool asks_for_all(const Decoder& decoder, const NamedParameters& parameters) {
  std::set<const c10::TensorImpl*> known;
  for (const at::Tensor& p : decoder.parameters()) known.insert(p.unsafeGetTensorImpl());
  return std::ranges::all_of(parameters, [&](const auto& entry) {
    return !entry.second.requires_grad() || known.contains(entry.second.unsafeGetTensorImpl());
  });
}

}  // namespace

// Called by autograd when a backward pass has added all it has to a parameter's gradient.
struct RankedGradients::Arrival : torch::autograd::PostAccumulateGradHook {
  Arrival(RankedGradients& o, size_t i) : owner(o), index(i) {}
  void operator()(const torch::autograd::Variable&) override { owner.arrived(index); }
  RankedGradients& owner;
  size_t index;
};

RankedGradients::RankedGradients(const NamedParameters& parameters, Communicator& ranks,
                                 Options options, Decoder* decoder)
    : ranks_(ranks), options_(options) {
  if (decoder && asks_for_all(*decoder, parameters)) {
    decoder_ = decoder;
    if (options_.shard == Shard::kOptimizer && decoder_->compute().dtype != at::kFloat)
      passing_.emplace(*decoder_);
  }
  std::vector<PlannedParameter> planned;
  for (const auto& [name, parameter] : parameters) {
    if (!parameter.requires_grad()) continue;
    if (parameter.scalar_type() != at::kFloat) fail("{}: ranks train float32 weights", name);
    parameters_.emplace_back(name, parameter);
    planned.push_back(
        {parameter.numel(), parameter.dim() >= 2, passing_ && passing_->multiplies(parameter)});
  }
  bucket_of_.resize(parameters_.size());
  const auto elements = options_.bucket_bytes / int64_t{sizeof(float)};
  for (Bucket& bucket : plan_buckets(planned, ranks_.size(), elements)) {
    Flat& flat = buckets_.emplace_back();
    static_cast<Bucket&>(flat) = std::move(bucket);
    lay_out(flat);
  }
  for (size_t i = 0; i < parameters_.size(); ++i) {
    torch::autograd::impl::set_post_acc_grad_hooks(parameters_[i].second,
                                                   std::make_unique<Arrival>(*this, i));
  }
  if (decoder_) decoder_->set_weight_gate(this);
  discard();
}

RankedGradients::~RankedGradients() {
  if (decoder_) decoder_->set_weight_gate(nullptr);
  for (const auto& [name, parameter] : parameters_)
    torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
}

void RankedGradients::lay_out(Flat& bucket) {
  const c10::NoGradGuard no_grad;
  const at::Tensor& first = parameters_[bucket.pieces.front().parameter].second;
  bucket.weights = at::zeros({bucket.size}, first.options().requires_grad(false));
  for (const BucketPiece& p : bucket.pieces) {
    const at::Tensor& parameter = parameters_[p.parameter].second;
    bucket_of_[p.parameter] = buckets_.size() - 1;
    bucket_of_tensor_[parameter.unsafeGetTensorImpl()] = buckets_.size() - 1;
    const at::Tensor place = bucket.weights.narrow(0, p.at, p.count).view(parameter.sizes());
    place.copy_(parameter);
    parameter.set_data(place);
  }
  const bool whole = options_.shard == Shard::kNone;
  bucket.own = whole ? bucket.weights : piece(bucket.weights);
  if (bucket.rounded) {
    bucket.read = bucket.weights.to(decoder_->compute().dtype);
    for (const BucketPiece& p : bucket.pieces) {
      const at::Tensor& parameter = parameters_[p.parameter].second;
      passing_->add(parameter, bucket.read.narrow(0, p.at, p.count).view(parameter.sizes()));
    }
    bucket.own = bucket.own.clone();
    drop_memory(bucket.weights);
  }
  Share share{.weight = bucket.own, .gradient = {}, .decays = bucket.decays, .stretches = {}};
  const int64_t begin = whole ? 0 : ranks_.rank() * bucket.own.numel();
  for (const BucketPiece& p : bucket.pieces)
    add_stretch(share, begin, parameters_[p.parameter], p.at);
  shares_.push_back(std::move(share));
}

void RankedGradients::Flat::wait() {
  pending.wait();
  sent.reset();
}

at::Tensor RankedGradients::piece(const at::Tensor& flat) const {
  const int64_t size = flat.numel() / ranks_.size();
  return flat.narrow(0, ranks_.rank() * size, size);
}

bool RankedGradients::saves() const {
  return options_.shard == Shard::kOptimizer || ranks_.is_first();
}

void RankedGradients::last_pass() { last_pass_ = true; }

void RankedGradients::arrived(size_t parameter) {
  if (!last_pass_) return;
  const size_t index = bucket_of_[parameter];
  Flat& bucket = buckets_[index];
  if (index < sent_) {
    fail("a backward pass added to the gradient of '{}' after it had been sent",
         parameters_[parameter].first);
  }
  if (!arrived_[parameter]) --bucket.missing;
  arrived_[parameter] = true;
  // In their order, whatever the order in which they are complete: ranks need not agree on that.
  while (sent_ < buckets_.size() && buckets_[sent_].missing == 0) send_next();
}

void RankedGradients::send_next() {
  send(buckets_[sent_++]);
  if (sent_ - added_ > kUnderWay) add_up(buckets_[added_++]);
}

void RankedGradients::send(Flat& bucket) {
  const c10::NoGradGuard no_grad;
  bucket.wait();  // weights that no pass has asked for
  bucket.gradients = at::empty({bucket.size}, bucket.weights.options());
  int64_t filled = 0;
  const auto zero_up_to = [&](int64_t end) {
    if (end > filled) bucket.gradients.narrow(0, filled, end - filled).zero_();
  };
  for (const BucketPiece& p : bucket.pieces) {
    at::Tensor& gradient = parameters_[p.parameter].second.mutable_grad();
    if (!gradient.defined()) continue;  // of a parameter that no supervised token reached
    zero_up_to(p.at);
    bucket.gradients.narrow(0, p.at, p.count).view(gradient.sizes()).copy_(gradient);
    gradient.reset();
    filled = p.at + p.count;
  }
  zero_up_to(bucket.size);
  bucket.part = at::empty({bucket.size / ranks_.size()}, bucket.weights.options());
  bucket.pending = ranks_.reduce_scatter(bucket.part, bucket.gradients, "the gradients");
}

void RankedGradients::add_up(Flat& bucket) {
  const c10::NoGradGuard no_grad;
  bucket.pending.wait();
  if (options_.shard == Shard::kNone) {
    bucket.pending = ranks_.all_gather(bucket.gradients, bucket.part, "the gradients' sums");
  } else {
    bucket.gradients.reset();
  }
}

at::Tensor RankedGradients::sum() {
  const c10::NoGradGuard no_grad;
  while (sent_ < buckets_.size()) send_next();
  while (added_ < buckets_.size()) add_up(buckets_[added_++]);
  std::vector<at::Tensor> parts;
  for (size_t b = 0; b < buckets_.size(); ++b) {
    Flat& bucket = buckets_[b];
    parts.push_back(bucket.part);
    bucket.pending.wait();
    shares_[b].gradient = options_.shard == Shard::kNone ? bucket.gradients : bucket.part;
  }
  return sum_of_squares(parts);
}

void RankedGradients::updated() {
  const c10::NoGradGuard no_grad;
  discard();
  let_go();
  // From the last bucket on, as forward passes need them.
  for (size_t b = buckets_.size(); options_.shard == Shard::kOptimizer && b-- > 0;) {
    Flat& bucket = buckets_[b];
    if (bucket.rounded) bucket.sent = bucket.own.to(bucket.read.scalar_type());
    bucket.pending = ranks_.all_gather(bucket.rounded ? bucket.read : bucket.weights,
                                       bucket.rounded ? bucket.sent : bucket.own, "the weights");
  }
  if (!decoder_) wait();
  bump_versions(parameters_);
}

void RankedGradients::wait() {
  for (size_t b = buckets_.size(); b-- > 0;) buckets_[b].wait();
}

void RankedGradients::let_go() {
  if (!std::exchange(settled_, false)) return;
  passing_->read_weights(false);
  for (Flat& bucket : buckets_) {
    if (bucket.rounded) drop_memory(bucket.weights);
  }
}

void RankedGradients::settle() {
  const c10::NoGradGuard no_grad;
  wait();
  if (!passing_ || std::exchange(settled_, true)) return;
  passing_->read_weights(true);
  for (Flat& bucket : buckets_) {
    if (!bucket.rounded) continue;
    take_memory(bucket.weights);
    ranks_.all_gather(bucket.weights, bucket.own, "the weights").wait();
    if (!ranks_.is_first()) drop_memory(bucket.weights);
  }
}

void RankedGradients::hand_over(const Take& take) {
  Gradients::hand_over(take);
  let_go();
}

void RankedGradients::need(const std::vector<at::Tensor>& parameters) {
  let_go();
  for (const at::Tensor& parameter : parameters) {
    if (!parameter.defined()) continue;
    const auto found = bucket_of_tensor_.find(parameter.unsafeGetTensorImpl());
    if (found != bucket_of_tensor_.end()) buckets_[found->second].wait();
  }
}

void RankedGradients::discard() {
  for (size_t b = 0; b < buckets_.size(); ++b) {
    Flat& bucket = buckets_[b];
    shares_[b].gradient.reset();
    bucket.gradients.reset();
    bucket.part.reset();
    bucket.missing = bucket.pieces.size();
  }
  arrived_.assign(parameters_.size(), false);
  for (const auto& [name, parameter] : parameters_) parameter.mutable_grad().reset();
  sent_ = added_ = 0;
  last_pass_ = false;
}

}  // namespace continuo
