#include "train/parted_flat.h"

#include <algorithm>
#include <utility>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include "core/error.h"
#include "train/bucket_plan.h"
#include "train/storage_memory.h"

namespace continuo {

PartedFlat::PartedFlat(NamedParameters parameters, Communicator& ranks,
                       std::optional<at::ScalarType> products)
    : ranks_(ranks),
      parameters_(std::move(parameters)),
      trained_(parameters_.at(0).second.requires_grad()) {
  const c10::NoGradGuard no_grad;
  const auto decays = [](const auto& entry) { return entry.second.dim() >= 2; };
  std::ranges::stable_partition(parameters_, decays);
  const at::Tensor& first = parameters_[0].second;
  int64_t size = 0;
  for (const auto& [name, parameter] : parameters_) {
    if (parameter.scalar_type() != first.scalar_type() || parameter.device() != first.device() ||
        parameter.requires_grad() != trained_ || (trained_ && first.scalar_type() != at::kFloat))
      fail("'{}' cannot be parted with '{}'", name, parameters_[0].first);
    places_.push_back({size, parameter.numel()});
    size = round_up(size + parameter.numel(), kPieceAlignment);
    if (parameter.dim() >= 2) decaying_ = size;
  }
  size = round_up(size, kPieceAlignment * ranks_.size());
  exact_ = at::empty({size}, first.options().requires_grad(false));
  exact_.zero_();
  for (size_t i = 0; i < parameters_.size(); ++i) {
    at::Tensor& parameter = parameters_[i].second;
    const at::Tensor here = place(exact_, i);
    here.copy_(parameter);
    parameter.set_data(here);
  }
  const int64_t piece = size / ranks_.size();
  own_ = exact_.narrow(0, ranks_.rank() * piece, piece).clone();
  if (products && *products != first.scalar_type())
    rounded_ = at::empty({size}, exact_.options().dtype(*products));
  // While there is memory: LibTorch makes no views of what lies outside of it.
  for (size_t i = 0; i < parameters_.size(); ++i)
    read_.emplace_back(parameters_[i].second, place(rounded_.defined() ? rounded_ : exact_, i));
  drop_memory(exact_);
  if (rounded_.defined()) drop_memory(rounded_);
}

at::Tensor PartedFlat::place(const at::Tensor& whole, size_t parameter) const {
  const auto [at, count] = places_[parameter];
  return whole.narrow(0, at, count).view(parameters_[parameter].second.sizes());
}

void PartedFlat::fetch(Held what) {
  if (held_ == what) return;
  release();
  held_ = what;
  const c10::NoGradGuard no_grad;
  take_memory(whole(what));
  if (what == Held::kRounded) sent_ = own_.to(rounded_.scalar_type());
  arriving_ = ranks_.all_gather(whole(what), sent_.defined() ? sent_ : own_, "the weights");
}

void PartedFlat::release() {
  if (held_ == Held::kPiece) return;
  arriving_.wait();
  drop_memory(whole(held_));
  sent_.reset();
  held_ = Held::kPiece;
}

void PartedFlat::reduce() {
  add_up();
  const c10::NoGradGuard no_grad;
  at::Tensor& first = parameters_[0].second.mutable_grad();
  if (first.defined() && first.is_contiguous() && first.numel() == exact_.numel()) {
    leaving_ = std::exchange(first, {}).view({-1});  // of an embedding it is large
  } else {
    leaving_ = at::zeros({exact_.numel()}, exact_.options());
  }
  for (size_t i = 0; i < parameters_.size(); ++i) {
    at::Tensor& gradient = parameters_[i].second.mutable_grad();
    if (!gradient.defined()) continue;  // of a parameter that no supervised token reached
    place(leaving_, i).copy_(gradient);
    gradient.reset();
  }
  part_ = at::empty({own_.numel()}, own_.options());
  reducing_ = ranks_.reduce_scatter(part_, leaving_, "the gradients");
}

void PartedFlat::add_up() {
  if (!part_.defined()) return;
  const c10::NoGradGuard no_grad;
  reducing_.wait();
  leaving_.reset();
  if (sum_.defined()) {
    sum_.add_(part_);
  } else {
    sum_ = part_;
  }
  part_.reset();
}

void PartedFlat::discard() {
  reducing_.wait();
  leaving_.reset();
  part_.reset();
  sum_.reset();
  for (const auto& [name, parameter] : parameters_) parameter.mutable_grad().reset();
}

std::vector<at::Tensor> PartedFlat::cut(const at::Tensor& piece) const {
  const int64_t size = piece.numel(), decaying = std::clamp<int64_t>(decaying_ - begin(), 0, size);
  std::vector<at::Tensor> parts;
  if (decaying > 0) parts.push_back(piece.narrow(0, 0, decaying));
  if (decaying < size) parts.push_back(piece.narrow(0, decaying, size - decaying));
  return parts;
}

std::vector<Share> PartedFlat::shares() const {
  std::vector<Share> shares;
  int64_t begin = this->begin();
  for (const at::Tensor& weight : cut(own_)) {
    Share& share = shares.emplace_back(
        Share{.weight = weight, .gradient = {}, .decays = begin < decaying_, .stretches = {}});
    for (size_t i = 0; i < parameters_.size(); ++i)
      add_stretch(share, begin, parameters_[i], places_[i].at);
    begin += weight.numel();
  }
  return shares;
}

}  // namespace continuo
