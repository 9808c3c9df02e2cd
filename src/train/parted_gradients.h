// Weights, sums of gradients and moments parted over the ranks of a run (ZeRO-3, arXiv 1910.02054):
// stage `all`. Each of a decoder's parts is in memory whole while a pass reads it: gathered before,
// one part ahead, released after. Matrices come as products read them: in bfloat16, half as much
// to send and to hold, where these compute in it. A backward pass through a part sends its
// gradients off and lets them go; those of an embedding, which it reaches last, once it has ended.
// What is in no part, a last norm, and adapters, stays whole (stage `optimizer`).
//
// Ranks make their passes together, as many as the rank that has most.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "nn/decoder.h"
#include "train/parted_flat.h"
#include "train/passing_weights.h"
#include "train/ranked_gradients.h"

namespace continuo {

class PartedGradients : public Gradients, private WeightGate {
 public:
  // `trained`: parameters of the decoder or of its adapters; takes those that require a gradient.
  // Frozen parameters of the decoder are parted too, those that are not in memory brought there in
  // the dtype `frozen`; without one they stay as they are. The decoder, whose gate this becomes and
  // whose compute dtype stays as it is, and `ranks` outlive it.
  PartedGradients(Decoder& decoder, const NamedParameters& trained, Communicator& ranks,
                  std::optional<at::ScalarType> frozen = {});
  ~PartedGradients() override;
  PartedGradients(const PartedGradients&) = delete;
  PartedGradients& operator=(const PartedGradients&) = delete;

  Communicator& ranks() override { return ranks_; }
  std::vector<Share>& shares() override { return shares_; }
  const NamedParameters& parameters() const override { return parameters_; }
  bool saves() const override { return true; }
  bool passes_together() const override { return true; }
  void pass_over() override;
  at::Tensor sum() override;
  void updated() override;
  void wait() override { rest_->wait(); }
  void settle() override;
  // No rank's memory holds more than two parts.
  void hand_over(const Take& take) override;
  void discard() override;

 private:
  struct Part {
    std::vector<std::unique_ptr<PartedFlat>> flats;
    NamedParameters trained;
    bool complete = false;  // in the backward pass that goes on
  };
  void begin() override;
  bool releases() const override { return true; }
  void need(const std::vector<at::Tensor>& parameters) override;
  void leave(const std::vector<at::Tensor>& parameters) override;
  void complete(const std::vector<at::Tensor>& parameters) override;
  // Which of the parts has the parameters; -1: none.
  int64_t index_of(const std::vector<at::Tensor>& parameters) const;
  Part* part_of(const std::vector<at::Tensor>& parameters);  // null: none
  // Where on its way a pass is that needs the part now.
  int64_t stop_at(int64_t part) const;
  void take_over(const NamedParameters& parameters);
  void read(const at::Tensor& parameter);
  void let_go();
  void gather(int64_t stop);
  void release(Part& part);
  void complete(Part& part);
  void list_shares();

  Decoder& decoder_;
  Communicator& ranks_;
  std::optional<at::ScalarType> frozen_;
  NamedParameters parameters_;
  std::unique_ptr<RankedGradients> rest_;
  std::vector<Part> parts_;
  std::map<const c10::TensorImpl*, int64_t> part_of_;
  PassingWeights passing_;
  std::vector<Share> shares_;        // those of `rest_`, then those of the parts
  std::deque<PartedFlat*> leaving_;  // whose gradients are on their way
  std::vector<int64_t> way_;         // the parts that a forward pass needs, one after the other
  int64_t last_ = -1;                // stop on the way that was needed last; -1: a pass begins
  bool settled_ = false;
};

}  // namespace continuo
