// A sampler stage: one named step that shapes the row before a token is drawn. A stage that keeps
// state keeps it per sequence: every sequence samples with its own clone. Stages know no model, no
// text and no other stage.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "generate/sampling/candidates.h"
#include "generate/sampling/noise.h"
#include "generate/sampling/vocabulary.h"

namespace continuo {

// What is known when a token is about to be drawn.
struct StageContext {
  std::span<const TokenId> history;  // prompt ++ completion so far
  size_t prompt_length = 0;
  const Vocabulary& vocabulary;
  const Noise& noise;

  std::span<const TokenId> completion() const { return history.subspan(prompt_length); }
  uint64_t position() const { return history.size(); }  // of the token to be drawn
};

// A token that was drawn, and its log-probability under the law that it was drawn from.
struct Drawn {
  TokenId id = 0;
  double logprob = 0;
};

class SamplerStage {
 public:
  virtual ~SamplerStage() = default;

  // Called once before the first row: turns texts into ids and checks ids. Errors name the value.
  virtual void bind(const Vocabulary&) {}
  // Shapes the row. It may leave it empty: the chain turns that into an Error that names the stage.
  virtual void apply(Candidates& row, const StageContext& context) = 0;
  // The token that was drawn after `apply`.
  virtual void accept(const Drawn&) {}
  // A copy with its state.
  virtual std::unique_ptr<SamplerStage> clone() const = 0;
};

// Base of all stages: `class TopK : public StageBase<TopK, TopKParams>`.
template <class Self, class ParamsType>
class StageBase : public SamplerStage {
 public:
  using Params = ParamsType;
  explicit StageBase(const Params& params) : params_(params) {}

  std::unique_ptr<SamplerStage> clone() const override {
    return std::make_unique<Self>(static_cast<const Self&>(*this));
  }

 protected:
  Params params_;
};

}  // namespace continuo
