// Parameters that lie side by side in memory that comes and goes: every rank keeps one piece of
// them, and all of it is there between `gather` and `release`.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "train/gradients.h"

namespace continuo {

class PartedFlat {
 public:
  // Takes over parameters in memory, on the CPU, all of one dtype, and trained (then float32) or
  // frozen; their own memory goes at once. `ranks` outlives it.
  PartedFlat(NamedParameters parameters, Communicator& ranks);

  // Starts to fetch the other ranks' pieces, unless they are there or under way.
  void gather();
  // Until the parameters have their values.
  void wait() { arriving_.wait(); }
  // Drops all but this rank's piece. Whatever still refers to a parameter finds no memory there.
  void release();

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
  at::Tensor place(const at::Tensor& whole, size_t parameter) const;
  int64_t begin() const { return ranks_.rank() * own_.numel(); }

  Communicator& ranks_;
  NamedParameters parameters_;
  std::vector<Place> places_;
  bool trained_;
  at::Tensor whole_;           // its storage is empty while only the piece is held
  at::Tensor own_;             // [elements of a piece]
  int64_t decaying_ = 0;       // elements of the whole before those that do not
  bool held_ = false;          // all of it, or on its way
  at::Tensor leaving_, part_;  // gradients under way: this rank's, and what comes of the others'
  at::Tensor sum_;
  Pending arriving_, reducing_;
};

}  // namespace continuo
