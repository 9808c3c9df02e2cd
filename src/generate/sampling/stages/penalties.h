// Penalties on tokens that occurred, once per distinct token:
//   repetition (Keskar et al., arXiv 1909.05858), two laws:
//     logprob: the log-probability is multiplied by θ. Shifting all logits changes nothing.
//     raw: l > 0 ? l / θ : l · θ on raw logits, as transformers and llama.cpp do.
//   frequency: l −= α · count       presence: l −= β
#pragma once

#include "core/config/config.h"
#include "generate/sampling/history_scope.h"
#include "generate/sampling/stage.h"

namespace continuo {

enum class RepetitionForm { kLogprob, kRaw };
inline std::span<const EnumName> enum_names(RepetitionForm) {
  static constexpr EnumName kNames[] = {{"logprob", static_cast<int>(RepetitionForm::kLogprob)},
                                        {"raw", static_cast<int>(RepetitionForm::kRaw)}};
  return kNames;
}

struct RepetitionParams : HistoryScope {
  double penalty = 1.1;
  RepetitionForm form = RepetitionForm::kLogprob;
};
inline void fields(FieldVisitor& v, RepetitionParams& c) {
  v.field("penalty", c.penalty, "θ; 1 changes nothing, above 1 repeats less.", Range::positive());
  v.field("form", c.form,
          "logprob: independent of the logits' offset; raw: on logits as they are.");
  scope_fields(v, c);
}

class Repetition : public StageBase<Repetition, RepetitionParams> {
 public:
  using StageBase::StageBase;
  void apply(Candidates& row, const StageContext& context) override {
    const double theta = params_.penalty;
    if (theta == 1) return;
    seen_.count(params_, context);
    if (seen_.ids().empty()) return;
    const bool raw = params_.form == RepetitionForm::kRaw;
    const double log_sum = raw ? 0 : row.log_sum();
    row.edit(seen_.ids(), [&](size_t, double l) {
      if (raw) return l > 0 ? l / theta : l * theta;
      return log_sum + theta * (l - log_sum);
    });
  }

 private:
  TokenCounter seen_;
};

struct FrequencyParams : HistoryScope {
  double penalty = 0.1;
};
inline void fields(FieldVisitor& v, FrequencyParams& c) {
  v.field("penalty", c.penalty,
          "Taken from the logit for every occurrence; negative repeats more.");
  scope_fields(v, c);
}

class Frequency : public StageBase<Frequency, FrequencyParams> {
 public:
  using StageBase::StageBase;
  void apply(Candidates& row, const StageContext& context) override {
    if (params_.penalty == 0) return;
    seen_.count(params_, context);
    row.edit(seen_.ids(), [&](size_t i, double l) {
      return l - params_.penalty * static_cast<double>(seen_.counts()[i]);
    });
  }

 private:
  TokenCounter seen_;
};

struct PresenceParams : HistoryScope {
  double penalty = 0.1;
};
inline void fields(FieldVisitor& v, PresenceParams& c) {
  v.field("penalty", c.penalty,
          "Taken from the logit of a token that occurred; negative repeats more.");
  scope_fields(v, c);
}

class Presence : public StageBase<Presence, PresenceParams> {
 public:
  using StageBase::StageBase;
  void apply(Candidates& row, const StageContext& context) override {
    if (params_.penalty == 0) return;
    seen_.count(params_, context);
    row.edit(seen_.ids(), [&](size_t, double l) { return l - params_.penalty; });
  }

 private:
  TokenCounter seen_;
};

}  // namespace continuo
