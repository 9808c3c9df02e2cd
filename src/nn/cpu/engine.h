// The CPU's executor: a whole pass in one parallel region over packed weights (packed_matrix.h),
// prefill and decoding alike. Activations are float32 whatever the weights are. A row's bits depend
// on its document and adapter alone: not on the other rows, the number of threads, or how many of
// its document's tokens came together.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "nn/cpu/engine_layer.h"
#include "nn/cpu/engine_pass.h"
#include "nn/cpu/packed_matrix.h"
#include "nn/cpu/team.h"
#include "nn/executor.h"
#include "nn/rope_tables.h"
#include "nn/transformer.h"

namespace continuo {

class CpuEngine : public Executor {
 public:
  CpuEngine(std::shared_ptr<Transformer> model, const ExecutorOptions& options);

  const ModelSpec& spec() const override { return model_->spec(); }
  const ExecutorOptions& options() const override { return options_; }
  at::Device device() const override { return at::kCPU; }
  std::string description() const override;
  std::unique_ptr<KVCache> make_cache() const override;
  PassResult run(const Pass& pass) override;
  at::Tensor logits(const at::Tensor& rows) override;
  Head head() const override;
  WeightMatrix matrix(const MatrixPlace& place) const override;
  WeightMatrix head_matrix() const override;
  void refresh() override;
  int64_t add_adapter(const AdapterWeights& adapter) override;
  void remove_adapter(int64_t id) override { adapters_.erase(id); }
  int64_t weight_bytes() const override;
  std::vector<HeldWeights> held_weights() const override;
  PassTime pass_time() const override;

 private:
  // A member's own memory.
  struct Scratch {
    PackedScratch rows;
    std::vector<float> normalised, gathered;
    AttentionScratch attention;
  };
  // y [rows, stride_out] = x [rows, stride_in] · W of a joint, the adapters included.
  struct Product {
    int64_t joint;
    const float* x;
    float* y;
  };
  // How a sublayer writes to the residual stream.
  struct Leaving {
    const std::vector<float>& bias;
    const EngineNorm& norm;
  };

  void pack();
  void note(const PackedMatrix& w);  // of those that passes multiply with
  WeightFormat format_of(const Joint& joint) const;
  WeightFormat head_format() const;
  // [N, hidden] of the embedding: of the head's panels where the two are one.
  at::Tensor embedding_rows(const at::Tensor& tokens) const;
  at::Tensor forward(const Pass& pass);
  void add_adapters(EnginePass& pass, const Pass& in);
  void fit_buffers(const EnginePass& pass);
  void fit_attention(const EnginePass& pass);
  void fit_experts(const EnginePass& pass);
  // Threads that so many products are worth: a short region costs more than it saves, and among
  // other busy processes far more.
  static int64_t members_for(int64_t products);
  void fit_scratch(int64_t values);  // of the rows of one product

  // The stages of a pass; every member runs them all and they wait for each other inside.
  void run(const EnginePass& pass, const Team::Member& member);
  void run_layer(const EnginePass& pass, int64_t layer, const Team::Member& member);
  template <class MakeRow, class Finished>
  void multiply(const EngineRows& rows, const Product& p, const Team::Member& member,
                const MakeRow& make, const Finished& finish);
  template <class Finished>
  void read_stream(const EnginePass& pass, const EngineNorm& norm, int64_t joint, float* y,
                   const Team::Member& member, const Finished& finish);
  template <class MakeRow>
  PackedInput gather(const PackedMatrix& w, int64_t rows, const float* x,
                     const Team::Member& member, const MakeRow& make);
  void add_low_rank(const AdapterRun& run, int64_t joint, int64_t begin, int64_t end, float* y);
  // What a waiting member fetches: its first panels of a matrix that comes next.
  static Ahead share(const PackedMatrix& w, const Team::Member& member);
  Ahead share(int64_t joint, const Team::Member& member) const {
    return share(joint < std::ssize(matrices_) ? matrices_[joint] : head_, member);
  }
  // What a sublayer reads of a row: the residual stream, normalised where the family has a norm
  // there; zeros up to the stride.
  void enter(const EngineNorm& norm, int64_t row, float* out) const;
  // Adds product_ + bias to the residual stream: at once for the columns of panels [first, last),
  // or, where a norm comes between, row by row once the whole product is there.
  void add_panels(int64_t rows, int64_t joint, const std::vector<float>& bias, int64_t first,
                  int64_t last);
  void add_normalised(const EnginePass& pass, int64_t joint, const Leaving& leaving,
                      const Team::Member& member);
  void project(const EnginePass& pass, int64_t joint, const float* x, const Leaving& leaving,
               const Team::Member& member);
  // The MLP up to its last product, and that; of a mixture, up to the sum over the experts.
  void read_mlp(const EnginePass& pass, const EngineLayer& layer, const Team::Member& member);
  void write_mlp(const EnginePass& pass, const EngineLayer& layer, const Team::Member& member);
  void multiply_gate(int64_t rows, const EngineDense& dense, int64_t begin, int64_t end);
  float* normalised(const EnginePass& pass, const Team::Member& member);

  void mix_experts(const EnginePass& pass, const EngineLayer& layer, const Team::Member& member);
  void choose_experts(const EngineExperts& experts, int64_t row);
  void run_expert(const EnginePass& pass, const EngineExperts& experts, int64_t expert,
                  const Team::Member& member);

  void convolve(const EnginePass& pass, int64_t layer, const Team::Member& member);
  void attend(const EnginePass& pass, int64_t layer, const Team::Member& member);
  template <class T>
  void attend_in(const EnginePass& pass, int64_t layer, const Team::Member& member);
  template <class T>
  void attend_unit(const EnginePass& pass, int64_t layer, const AttentionUnit& unit, int64_t head,
                   AttentionScratch& scratch);
  template <class T>
  void write_token(const EnginePass& pass, int64_t layer, int64_t row, int64_t head);
  void finish_projections(const EnginePass& pass, const EngineLayer& layer,
                          const Team::Member& member);
  void rotate(const EnginePass& pass, int64_t layer, int64_t row, const EngineNorm& norm,
              float* x) const;
  void merge_units(const EnginePass& pass, int64_t layer, const AttentionTile& tile, int64_t head);
  void write_attended(const EngineLayer& layer, const AttentionTile& tile, int64_t head,
                      const AttentionPart* parts, const float* out);

  std::shared_ptr<Transformer> model_;
  ExecutorOptions options_;
  ModelWeights weights_;
  std::vector<TensorState> sources_;  // storage and version of what is packed
  RopeTables rope_;
  std::optional<PanelArena> arena_;
  std::vector<Joint> joints_;
  std::vector<PackedMatrix> matrices_;  // of the joints
  std::set<Activations> reads_;         // of these and the head
  bool stored_ = false;                 // some of them are a file's blocks
  std::vector<EngineLayer> layers_;
  int64_t parameters_ = 0;  // of the layers' matrices
  EngineNorm norm_;
  PackedMatrix head_;
  std::map<int64_t, EngineAdapter> adapters_;
  int64_t next_adapter_ = 0;

  std::vector<Scratch> scratch_;
  PackedScratch shared_;  // rows of a pass of many, converted by all members together
  // These keep their memory from pass to pass.
  std::vector<float> residual_, normalised_, mixer_in_, mixed_, gate_up_, product_, result_;
  std::vector<float> down_ranks_, up_ranks_;  // of adapters
  std::vector<float> partial_;
  std::vector<AttentionPart> parts_;
  std::vector<float> routed_, gathered_, experts_sum_;
  std::vector<ExpertChoice> choices_;  // [rows, chosen] of a mixture
};

}  // namespace continuo
