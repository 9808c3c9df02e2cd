// Mirostat v2 (Basu et al., arXiv 2007.14966): drops tokens whose surprise −log2 p exceeds μ, then
// moves μ by the surprise of the token drawn: μ ← μ − η(−log2 p − τ), from μ = 2τ. The draw must be
// of the row that it leaves, so it is the last stage.
#pragma once

#include <cmath>
#include <numbers>

#include "core/config/config.h"
#include "generate/sampling/stage.h"

namespace continuo {

struct MirostatParams {
  double tau = 5;
  double eta = 0.1;
};
inline void fields(FieldVisitor& v, MirostatParams& c) {
  v.field("tau", c.tau, "Target surprise of a token in bits.", Range::positive());
  v.field("eta", c.eta, "Rate at which the bound follows.", Range::positive());
}

// μ after a token of this log-probability (nats) was drawn.
inline double next_mu(double mu, const MirostatParams& params, double logprob) {
  return mu - params.eta * (-logprob / std::numbers::ln2 - params.tau);
}

class Mirostat : public StageBase<Mirostat, MirostatParams> {
 public:
  explicit Mirostat(const MirostatParams& params) : StageBase(params), mu_(2 * params.tau) {}

  void apply(Candidates& row, const StageContext&) override {
    row.keep_above(row.log_sum() - mu_ * std::numbers::ln2, 1);
  }
  void accept(const Drawn& drawn) override { mu_ = next_mu(mu_, params_, drawn.logprob); }

 private:
  double mu_;
};

}  // namespace continuo
