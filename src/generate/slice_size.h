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
      observe_alone(seconds);
    } else if (alone_ > 0) {
      observe_slice(slice, seconds);
    }
  }

  // Tokens with which a pass takes `slowdown` times as long as it mostly does, or a barely
  // noticeable while. 0: the next pass shall tell what one without prompts takes now.
  int64_t limit(double slowdown, int64_t most) const {
    constexpr int64_t kFirst = 16;  // before any was seen
    // Seconds of a pass. With sampling, and what passes vary by, two tokens are then not more than
    // 60 ms apart; within them a prompt gets seven tenths of a pass where it can.
    constexpr double kShort = 0.032, kUnnoticed = 0.047, kLive = 0.30;
    // So much longer may a pass become even while all are slow, so that a prompt is read.
    const double least = std::min(0.5, slowdown - 1);
    if (asks_ || alone_ <= 0) return 0;
    if (extra_ <= 0) return std::min(kFirst, most);
    const double pass = std::clamp(usual_ / kLive, kShort, kUnnoticed);
    const double spare = std::max(std::max(slowdown * usual_, pass) - alone_, least * alone_);
    // What a token costs beside few others says little of slices much longer.
    const auto tokens =
        static_cast<int64_t>(std::min(spare * tokens_ / extra_, 2 * static_cast<double>(known_)));
    return std::clamp(tokens, int64_t{1}, most);
  }

 private:
  void observe_alone(double seconds) {
    if (asks_) {  // tokens became as much slower, or faster
      extra_ *= seconds / alone_;
      alone_ = seconds;
    } else {
      alone_ = alone_ > 0 ? 0.8 * alone_ + 0.2 * seconds : seconds;
    }
    // A slow while does not make what is long usual, and is forgotten after it.
    usual_ += (usual_ <= 0 ? 1 : seconds > usual_ ? 0.1 : 0.5) * (seconds - usual_);
    asks_ = false;
    since_ = 0;
  }

  // A machine that became slower must not be taken for tokens that became dearer: slices would
  // shrink, and their tokens seem dearer still. What a pass takes without them tells the two apart,
  // and is looked at when one took much longer, or shorter, than expected, and now and then.
  void observe_slice(int64_t slice, double seconds) {
    constexpr int64_t kSettled = 4, kOften = 24;  // passes
    constexpr double kSurprise = 1.25;
    ++since_;
    const auto tokens = static_cast<double>(slice);
    if (tokens_ > 0) {
      const double ratio = seconds / (alone_ + extra_ * tokens / tokens_);
      const bool surprise = ratio > kSurprise || ratio * kSurprise < 1;
      asks_ = since_ >= kOften || (surprise && since_ >= kSettled);
      if (asks_ && surprise) return;
    }
    // Seconds and tokens apart: what a token of a short slice seems to cost is mostly what passes
    // vary by.
    const double learnt = tokens_ > 0 ? 0.3 : 1;
    extra_ += learnt * (std::max(0.0, seconds - alone_) - extra_);
    tokens_ += learnt * (tokens - tokens_);
    known_ = std::max(slice, known_ / 2);  // a prompt's last slice may be a token
  }

  double alone_ = 0;               // seconds of a pass without prompts, of late
  double usual_ = 0;               // and mostly
  double extra_ = 0, tokens_ = 0;  // seconds that passes with a slice took beyond, and its tokens
  int64_t known_ = 0;              // tokens of the slices that they were learnt from
  int64_t since_ = 0;              // passes with slices since one without
  bool asks_ = false;
};

}  // namespace continuo
