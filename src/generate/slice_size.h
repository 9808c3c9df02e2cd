// How many prompt tokens may go with a pass of live sequences, so that it takes no longer than they
// can bear: learnt from the passes themselves.
#pragma once

#include <algorithm>
#include <cstdint>

namespace continuo {

class SliceSize {
 public:
  // A pass without prompts, or with a slice of them, took so long.
  void observe(int64_t slice, double seconds) {
    if (slice == 0) {
      alone_ = alone_ > 0 ? 0.8 * alone_ + 0.2 * seconds : seconds;
    } else if (alone_ > 0) {
      // Seconds and tokens apart: what a token of a short slice seems to cost is mostly what passes
      // vary by, and would make the next slice shorter still.
      const double learnt = tokens_ > 0 ? 0.3 : 1;
      extra_ += learnt * (std::max(0.0, seconds - alone_) - extra_);
      tokens_ += learnt * (static_cast<double>(slice) - tokens_);
      known_ = std::max(slice, known_ / 2);  // a prompt's last slice may be a token
    }
  }

  // Tokens with which a pass takes `slowdown` times as long, or a barely noticeable while.
  int64_t limit(double slowdown, int64_t most) const {
    constexpr int64_t kFirst = 16;  // before anything is known
    // Seconds of a pass. With sampling, and what passes vary by, two tokens are then not more than
    // 60 ms apart; within them a prompt gets two thirds of a pass where it can.
    constexpr double kShort = 0.040, kUnnoticed = 0.047, kLive = 0.35;
    if (alone_ <= 0 || extra_ <= 0) return std::min(kFirst, most);
    const double pass = std::clamp(alone_ / kLive, kShort, kUnnoticed);
    const double spare = std::max(slowdown * alone_, pass) - alone_;
    // What a token costs beside few others says little of slices much longer.
    const auto tokens =
        static_cast<int64_t>(std::min(spare * tokens_ / extra_, 2 * static_cast<double>(known_)));
    return std::clamp(tokens, int64_t{1}, most);
  }

 private:
  double alone_ = 0;               // seconds of a pass without prompts
  double extra_ = 0, tokens_ = 0;  // seconds that passes with a slice took beyond, and its tokens
  int64_t known_ = 0;              // tokens of the slices that they were learnt from
};

}  // namespace continuo
