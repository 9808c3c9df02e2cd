// Stages that keep the tokens above a cut-off in probability or logit:
//   min_p    p ≥ m · p_max                    (Nguyen et al., arXiv 2407.01082)
//   epsilon  p ≥ ε                            (Hewitt et al., arXiv 2210.15191)
//   eta      p ≥ min(ε, √ε · e^−H)            (the same)
//   top_n_sigma  logit ≥ max − n · σ(logits)  (Tang et al., arXiv 2411.07641)
// The most probable token always stays.
#pragma once

#include <algorithm>
#include <cmath>

#include "core/config.h"
#include "generate/stage.h"

namespace continuo {

// Keeps logits ≥ cutoff, and the `min_keep` most probable in any case.
inline void keep_above(Candidates& row, double cutoff, int64_t min_keep) {
  size_t above = 0;
  for (const Candidate& c : row) above += c.logit >= cutoff;
  if (above < static_cast<size_t>(min_keep)) return row.keep_top(static_cast<size_t>(min_keep));
  row.keep_if([&](size_t i) { return row[i].logit >= cutoff; });
}

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
    keep_above(row, row.best().logit + std::log(params_.p), params_.min_keep);
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
    keep_above(row, row.log_sum() + std::log(params_.cutoff), params_.min_keep);
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
    keep_above(row, row.log_sum() + log_eta, params_.min_keep);
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
    double mean = 0, variance = 0;
    for (const Candidate& c : row) mean += c.logit;
    mean /= static_cast<double>(row.size());
    for (const Candidate& c : row) variance += (c.logit - mean) * (c.logit - mean);
    const double sigma = std::sqrt(variance / static_cast<double>(row.size()));
    keep_above(row, row.best().logit - params_.n * sigma, 1);
  }
};

}  // namespace continuo
