// Parameters that lie side by side in memory that comes and goes: every rank keeps one piece of
// them, and all of it is there between `gather` and `release`, as it is or rounded to what products
// read.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "train/gradients.h"

namespace continuo {

class PartedFlat {
 public:
  // Takes over parameters in memory, of one device, all of one dtype, and trained (then float32) or
  // frozen; their own memory goes at once. `products`: the dtype in which ranks send each other
  // what products read of them; by default their own. `ranks` outlives it.
  PartedFlat(NamedParameters parameters, Communicator& ranks,
             std::optional<at::ScalarType> products = {});

  // Starts to fetch what products read of the other ranks' pieces, unless it is there or under way.
  void gather() { fetch(rounded_.defined() ? Held::kRounded : Held::kExact); }
  // The same of the parameters themselves.
  void gather_exact() { fetch(Held::kExact); }
  // Until what was asked for has its values.
  void wait() { arriving_.wait(); }
  // Drops all but this rank's piece. Whatever still refers to a parameter finds no memory there.
  void release();

  // What `gather` fills of each parameter.
  const std::vector<std::pair<at::Tensor, at::Tensor>>& read_by_products() const { return read_; }

  bool trained() const { return trained_; }
  // Of trained ones. Takes the gradients that backward passes left in the parameters and sends
  // every rank its piece.
  void reduce();
  // Waits for what `reduce` sent here and adds it to the sum.
  void add_up();
  // Lets all gradients go.
  void discard();
  // [elements of a piece] float32: the sum of this rank's pieces; undefined before the first.
  const at::Tensor& sum() const { return sum_; }
  // This rank's piece of the weights as shares, those that decay first; at most two.
  std::vector<Share> shares() const;
  // `piece` [elements of a piece] cut as the weights are into shares.
  std::vector<at::Tensor> cut(const at::Tensor& piece) const;

 private:
  struct Place {
    int64_t at = 0;  // element of the whole
    int64_t count = 0;
  };
  enum class Held { kPiece, kRounded, kExact };
  void fetch(Held what);
  at::Tensor place(const at::Tensor& whole, size_t parameter) const;
  const at::Tensor& whole(Held what) const { return what == Held::kRounded ? rounded_ : exact_; }
  int64_t begin() const { return ranks_.rank() * own_.numel(); }

  Communicator& ranks_;
  NamedParameters parameters_;
  std::vector<Place> places_;
  bool trained_;
  // Of all elements. Their storage is empty while they are not held; the second is undefined where
  // products read the first.
  at::Tensor exact_, rounded_;
  std::vector<std::pair<at::Tensor, at::Tensor>> read_;  // parameters, and what products read
  at::Tensor own_;                                       // [elements of a piece]
  at::Tensor sent_;                                      // `own_` rounded, under way
  int64_t decaying_ = 0;       // elements of the whole before those that do not
  Held held_ = Held::kPiece;   // or on its way
  at::Tensor leaving_, part_;  // gradients under way: this rank's, and what comes of the others'
  at::Tensor sum_;
  Pending arriving_, reducing_;
};

}  // namespace continuo
