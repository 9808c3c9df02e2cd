#include "train/parted_gradients.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include <c10/core/GradMode.h>

namespace continuo {

namespace {

// Flats whose gradients are on their way at any one time.
constexpr size_t kFlatsUnderWay = 2;

}  // namespace

PartedGradients::PartedGradients(Decoder& decoder, const NamedParameters& trained,
                                 Communicator& ranks, std::optional<at::ScalarType> frozen)
    : decoder_(decoder), ranks_(ranks), frozen_(frozen), passing_(decoder) {
  for (const auto& [name, parameter] : trained) {
    if (parameter.requires_grad()) parameters_.emplace_back(name, parameter);
  }
  const std::vector<NamedParameters> named = parameters_by_part(decoder);
  for (size_t p = 1; p < named.size(); ++p) take_over(named[p]);
  for (const std::vector<at::Tensor>& part : decoder.parts()) {
    const int64_t here = std::ssize(way_), owner = index_of(part);
    way_.push_back(owner < 0 ? here : owner);
  }
  NamedParameters rest;
  for (const auto& entry : parameters_) {
    if (!part_of_.contains(entry.second.unsafeGetTensorImpl())) rest.push_back(entry);
  }
  for (const auto& [name, parameter] : named[0]) read(parameter);
  rest_ = std::make_unique<RankedGradients>(rest, ranks, RankedGradients::Options(), &decoder);
  decoder.set_weight_gate(this);
  list_shares();
}

PartedGradients::~PartedGradients() { decoder_.set_weight_gate(nullptr); }

void PartedGradients::read(const at::Tensor& parameter) {
  const std::optional<at::ScalarType> dtype = parameter.requires_grad() ? at::kFloat : frozen_;
  if (!dtype) return;
  decoder_.read_stored({parameter}, dtype);
  // What was no file's: matrices that are read with the norms, and those of a model in memory.
  if (parameter.dim() >= 2) at::Tensor(parameter).set_data(parameter.to(*dtype));
}

// A part at a time: no rank ever holds more of the parts than one and its own pieces.
void PartedGradients::take_over(const NamedParameters& parameters) {
  const auto index = std::ssize(parts_);
  Part& part = parts_.emplace_back();
  // Trained or not, the dtype, and that of products with them.
  std::map<std::tuple<bool, at::ScalarType, at::ScalarType>, NamedParameters> alike;
  for (const auto& [name, parameter] : parameters) {
    const bool trained = parameter.requires_grad();
    if (!trained && !frozen_) continue;
    read(parameter);
    if (trained) part.trained.emplace_back(name, parameter);
    part_of_[parameter.unsafeGetTensorImpl()] = index;
    const at::ScalarType dtype = parameter.scalar_type();
    const at::ScalarType products =
        trained && passing_.multiplies(parameter) ? decoder_.compute().dtype : dtype;
    alike[{trained, dtype, products}].emplace_back(name, parameter);
  }
  for (auto& [kind, of_it] : alike) {
    const auto& flat = part.flats.emplace_back(
        std::make_unique<PartedFlat>(std::move(of_it), ranks_, std::get<2>(kind)));
    for (const auto& [parameter, read] : flat->read_by_products()) passing_.add(parameter, read);
  }
}

void PartedGradients::list_shares() {
  shares_ = rest_->shares();
  for (const Part& part : parts_) {
    for (const auto& flat : part.flats) {
      if (!flat->trained()) continue;
      const std::vector<Share> shares = flat->shares();
      shares_.insert(shares_.end(), shares.begin(), shares.end());
    }
  }
}

int64_t PartedGradients::index_of(const std::vector<at::Tensor>& parameters) const {
  for (const at::Tensor& parameter : parameters) {
    if (!parameter.defined()) continue;
    const auto found = part_of_.find(parameter.unsafeGetTensorImpl());
    if (found != part_of_.end()) return found->second;
  }
  return -1;
}

PartedGradients::Part* PartedGradients::part_of(const std::vector<at::Tensor>& parameters) {
  const int64_t index = index_of(parameters);
  return index < 0 ? nullptr : &parts_[static_cast<size_t>(index)];
}

int64_t PartedGradients::stop_at(int64_t part) const {
  const auto ahead = std::find(way_.begin() + std::max<int64_t>(last_, 0), way_.end(), part);
  return (ahead != way_.end() ? ahead : std::ranges::find(way_, part)) - way_.begin();
}

void PartedGradients::gather(int64_t stop) {
  if (stop < 0 || stop >= std::ssize(way_)) return;
  const auto part = static_cast<size_t>(way_[static_cast<size_t>(stop)]);
  for (const auto& flat : parts_[part].flats) flat->gather();
}

void PartedGradients::release(Part& part) {
  for (const auto& flat : part.flats) flat->release();
}

void PartedGradients::let_go() {
  for (Part& part : parts_) release(part);
  passing_.read_weights(false);
  settled_ = false;
}

void PartedGradients::begin() {
  if (settled_) let_go();
  if (!way_.empty() && way_.back() != way_.front())
    release(parts_[static_cast<size_t>(way_.back())]);
  last_ = -1;
}

void PartedGradients::need(const std::vector<at::Tensor>& parameters) {
  if (settled_) let_go();
  Part* const part = part_of(parameters);
  if (!part) return rest_->need(parameters);
  const int64_t stop = stop_at(part - parts_.data()), end = std::ssize(way_) - 1;
  gather(stop);
  // A pass goes on as it came. At the end it turns where a backward pass is to follow, which needs
  // no embedding.
  const bool again = stop == last_;
  const bool back = stop == last_ - 1 || (stop == end && c10::GradMode::is_enabled());
  if (!again && (!back || stop > 1)) gather(back ? stop - 1 : stop + 1);
  last_ = stop;
  for (const auto& flat : part->flats) flat->wait();
}

void PartedGradients::leave(const std::vector<at::Tensor>& parameters) {
  if (Part* const part = part_of(parameters)) release(*part);
}

void PartedGradients::complete(const std::vector<at::Tensor>& parameters) {
  if (Part* const part = part_of(parameters)) complete(*part);
}

void PartedGradients::complete(Part& part) {
  if (part.complete) return;
  part.complete = true;
  release(part);
  for (const auto& flat : part.flats) {
    if (!flat->trained()) continue;
    flat->reduce();
    leaving_.push_back(flat.get());
    if (leaving_.size() <= kFlatsUnderWay) continue;
    leaving_.front()->add_up();
    leaving_.pop_front();
  }
}

// A part is not told of where the stream that enters it needs no gradient.
void PartedGradients::pass_over() {
  for (size_t p = parts_.size(); p-- > 0;) {
    complete(parts_[p]);
    parts_[p].complete = false;
  }
}

at::Tensor PartedGradients::sum() {
  for (PartedFlat* flat : leaving_) flat->add_up();
  leaving_.clear();
  // The rest leaves here and not during the last pass (`last_pass`): messages go in one order on
  // all ranks, and a pass without rows completes no gradient of a head.
  at::Tensor squares = rest_->sum();
  size_t share = 0;
  for (const Share& whole : rest_->shares()) shares_[share++].gradient = whole.gradient;
  std::vector<at::Tensor> sums;
  for (const Part& of : parts_) {
    for (const auto& flat : of.flats) {
      if (!flat->trained()) continue;
      sums.push_back(flat->sum());
      for (const at::Tensor& part : flat->cut(flat->sum())) shares_[share++].gradient = part;
    }
  }
  if (!sums.empty()) squares = squares + sum_of_squares(sums);
  return squares;
}

void PartedGradients::updated() {
  discard();
  let_go();
  rest_->updated();
}

void PartedGradients::settle() {
  rest_->settle();
  if (std::exchange(settled_, true)) return;
  passing_.read_weights(true);
  for (Part& part : parts_) {
    for (const auto& flat : part.flats) flat->gather_exact();
    for (const auto& flat : part.flats) flat->wait();
    if (!ranks_.is_first()) release(part);
  }
}

void PartedGradients::hand_over(const Take& take) {
  rest_->hand_over(take);
  if (rest_->parameters().size() == parameters_.size()) return;  // the parts are frozen
  let_go();
  const auto fetch = [&](size_t part) {
    if (part >= parts_.size()) return;
    for (const auto& flat : parts_[part].flats) flat->gather_exact();
  };
  for (size_t p = 0; p < parts_.size(); ++p) {
    fetch(p);
    fetch(p + 1);  // on its way while this one is written
    for (const auto& flat : parts_[p].flats) flat->wait();
    if (ranks_.is_first()) take(parts_[p].trained);
    release(parts_[p]);
  }
}

void PartedGradients::discard() {
  leaving_.clear();
  for (const Part& part : parts_) {
    for (const auto& flat : part.flats) flat->discard();
  }
  for (Share& share : shares_) share.gradient.reset();
  rest_->discard();
}

}  // namespace continuo
