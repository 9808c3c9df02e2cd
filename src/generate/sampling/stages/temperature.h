// Temperature: logits / T. T = 0 keeps the most probable token alone. With a range, T follows the
// entropy of the surviving row (dynatemp): Tmin + (Tmax − Tmin)(H / ln n)^exponent.
#pragma once

#include <algorithm>
#include <cmath>

#include "core/config/config.h"
#include "generate/sampling/stage.h"

namespace continuo {

struct TemperatureParams {
  double value = 0.8;
  double range = 0;
  double exponent = 1;
};
inline void fields(FieldVisitor& v, TemperatureParams& c) {
  v.field("value", c.value, "Divides the logits; 0 takes the most probable token.",
          Range::between(0, 100));
  v.field("range", c.range, "T moves within value ± range with the row's entropy; 0 fixes it.",
          Range::between(0, 100));
  v.field("exponent", c.exponent, "Shape of that movement.", Range::positive());
}

class Temperature : public StageBase<Temperature, TemperatureParams> {
 public:
  using StageBase::StageBase;

  void apply(Candidates& row, const StageContext&) override {
    const double t = temperature(row);
    if (t < kArgmaxBelow) return row.keep_top(1);
    if (t != 1) row.divide(t);
  }

 private:
  // Smaller values could not tell neighbouring float32 logits apart anyway.
  static constexpr double kArgmaxBelow = 1e-9;

  double temperature(const Candidates& row) const {
    if (params_.range == 0 || row.size() < 2) return params_.value;
    const double low = std::max(0.0, params_.value - params_.range);
    const double high = params_.value + params_.range;
    const double share = row.entropy() / std::log(static_cast<double>(row.size()));
    return low + (high - low) * std::pow(std::clamp(share, 0.0, 1.0), params_.exponent);
  }
};

}  // namespace continuo
