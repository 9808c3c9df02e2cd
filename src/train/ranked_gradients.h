// Gradients summed over the ranks of a run (data parallelism). Parameters move into flat buckets;
// while the last backward pass of a step goes on, every bucket that it has completed is already on
// its way: rank r receives piece r of each and adds the ranks' summands in their order.
//
// Stage `optimizer` (ZeRO-1, arXiv 1910.02054): a rank keeps moments for its pieces only, updates
// those and sends their weights to the others. Where linear layers compute in bfloat16, that is
// what it sends of their weights and what the others hold; the exact ones have their owner alone.
// Stage `none`: the sums go to everybody, and everybody updates everything. Both are the same
// arithmetic on the same numbers.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "nn/decoder.h"
#include "train/bucket_plan.h"
#include "train/gradients.h"
#include "train/passing_weights.h"
#include "train/train_config.h"

namespace continuo {

class RankedGradients : public Gradients, public WeightGate {
 public:
  struct Options {
    Shard shard = Shard::kOptimizer;
    int64_t bucket_bytes = int64_t{32} << 20;
  };

  // Takes those of `parameters` that require a gradient (float32, of one device) and lays their
  // data into buckets. Where all are the decoder's own, their way to the other ranks passes behind
  // its next pass; its compute dtype stays as it is. `ranks` and the decoder outlive this.
  RankedGradients(const NamedParameters& parameters, Communicator& ranks, Options options,
                  Decoder* decoder = nullptr);
  ~RankedGradients() override;
  RankedGradients(const RankedGradients&) = delete;
  RankedGradients& operator=(const RankedGradients&) = delete;

  Communicator& ranks() override { return ranks_; }
  std::vector<Share>& shares() override { return shares_; }
  const NamedParameters& parameters() const override { return parameters_; }
  bool saves() const override;
  void last_pass() override;
  at::Tensor sum() override;
  void updated() override;
  void wait() override;
  void settle() override;
  void hand_over(const Take& take) override;
  void discard() override;
  void need(const std::vector<at::Tensor>& parameters) override;

 private:
  struct Arrival;
  struct Flat : Bucket {
    at::Tensor weights;    // [size]; of rounded ones there only while they are settled
    at::Tensor read;       // [size], of rounded ones: what products read
    at::Tensor own;        // the share of the weights that this rank updates
    at::Tensor sent;       // `own` rounded, under way
    at::Tensor gradients;  // [size]: this rank's, then in stage `none` the sums
    at::Tensor part;       // [size / ranks]: this rank's piece of the sums
    size_t missing = 0;    // pieces whose gradient the last pass has not completed
    Pending pending;       // what was sent last: gradients, sums or weights

    void wait();
  };

  void lay_out(Flat& bucket);
  void let_go();  // of what `settle` brought
  void arrived(size_t parameter);
  void send(Flat& bucket);    // its gradients
  void add_up(Flat& bucket);  // what the others sent
  void send_next();
  at::Tensor piece(const at::Tensor& flat) const;  // this rank's

  Communicator& ranks_;
  Options options_;
  NamedParameters parameters_;
  std::vector<size_t> bucket_of_;  // of parameters
  std::vector<bool> arrived_;      // parameters that the last pass has completed
  std::vector<Flat> buckets_;      // in the order in which they are sent
  std::vector<Share> shares_;      // one per bucket
  size_t sent_ = 0, added_ = 0;
  bool last_pass_ = false;
  std::map<const c10::TensorImpl*, size_t> bucket_of_tensor_;
  Decoder* decoder_ = nullptr;  // whose passes wait for weights
  std::optional<PassingWeights> passing_;
  bool settled_ = false;
};

}  // namespace continuo
