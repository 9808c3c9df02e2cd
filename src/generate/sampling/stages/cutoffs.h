// Stages that keep the tokens above a cut-off in probability or logit:
//   min_p    p ≥ m · p_max                    (Nguyen et al., arXiv 2407.01082)
//   epsilon  p ≥ ε                            (Hewitt et al., arXiv 2210.15191)
//   eta      p ≥ min(ε, √ε · e^−H)            (the same)
//   top_n_sigma  logit ≥ max − n · σ(logits)  (Tang et al., arXiv 2411.07641)
// The most probable token always stays.
#pragma once

#include <algorithm>
#include <cmath>

#include "core/config/config.h"
#include "generate/sampling/stage.h"

namespace continuo {

struct MinPParams {
  double p = 0.05;
  int64_t min_keep = 1;
};
inline void fields(FieldVisitor& v, MinPParams& c) {
  v.field("p", c.p, "Keep tokens with at least this share of the highest probability; 0 keeps all.",
          Range::between(0, 1));
  v.field("min_keep", c.min_keep, "Keep at least so many tokens.", Range::at_least(1));
}

class MinP : public StageBase<MinP, MinPParams> {
 public:
  using StageBase::StageBase;
  void apply(Candidates& row, const StageContext&) override {
    if (params_.p <= 0) return;
    if (params_.p >= 1) return row.keep_top(static_cast<size_t>(params_.min_keep));
    row.keep_above(row.best().logit + std::log(params_.p), static_cast<size_t>(params_.min_keep));
  }
};

struct EpsilonParams {
  double cutoff = 3e-4;
  int64_t min_keep = 1;
};
inline void fields(FieldVisitor& v, EpsilonParams& c) {
  v.field("cutoff", c.cutoff, "Keep tokens with at least this probability; 0 keeps all.",
          Range::between(0, 1));
  v.field("min_keep", c.min_keep, "Keep at least so many tokens.", Range::at_least(1));
}

class Epsilon : public StageBase<Epsilon, EpsilonParams> {
 public:
  using StageBase::StageBase;
  void apply(Candidates& row, const StageContext&) override {
    if (params_.cutoff <= 0) return;
    row.keep_above(row.log_sum() + std::log(params_.cutoff), static_cast<size_t>(params_.min_keep));
  }
};

struct EtaParams {
  double cutoff = 3e-4;
  int64_t min_keep = 1;
};
inline void fields(FieldVisitor& v, EtaParams& c) {
  v.field("cutoff", c.cutoff, "ε of the cut-off min(ε, √ε·e^−H); 0 keeps all.",
          Range::between(0, 1));
  v.field("min_keep", c.min_keep, "Keep at least so many tokens.", Range::at_least(1));
}

class Eta : public StageBase<Eta, EtaParams> {
 public:
  using StageBase::StageBase;
  void apply(Candidates& row, const StageContext&) override {
    if (params_.cutoff <= 0) return;
    const double log_eps = std::log(params_.cutoff);
    const double log_eta = std::min(log_eps, 0.5 * log_eps - row.entropy());
    row.keep_above(row.log_sum() + log_eta, static_cast<size_t>(params_.min_keep));
  }
};

struct TopNSigmaParams {
  double n = 1;
};
inline void fields(FieldVisitor& v, TopNSigmaParams& c) {
  v.field("n", c.n, "Keep logits within n standard deviations of the highest; 0 keeps all.",
          Range::at_least(0));
}

class TopNSigma : public StageBase<TopNSigma, TopNSigmaParams> {
 public:
  using StageBase::StageBase;
  void apply(Candidates& row, const StageContext&) override {
    if (params_.n <= 0) return;
    row.keep_above(row.best().logit - params_.n * row.deviation(), 1);
  }
};

}  // namespace continuo
