#include "train/bucket_plan.h"

#include <array>

namespace continuo {

namespace {

constexpr int64_t kAlignment = 16;

int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

std::vector<Bucket> plan_buckets(std::span<const PlannedParameter> parameters, int64_t ranks,
                                 int64_t elements) {
  std::vector<Bucket> closed;
  std::array<Bucket, 2> open;  // of those without decay, and with it
  const auto close = [&](Bucket& bucket) {
    if (bucket.pieces.empty()) return;
    bucket.size = round_up(bucket.size, kAlignment * ranks);
    closed.push_back(std::move(bucket));
    bucket = {};
  };
  for (size_t i = parameters.size(); i-- > 0;) {
    const PlannedParameter& parameter = parameters[i];
    Bucket& bucket = open[parameter.decays ? 1 : 0];
    if (bucket.size + parameter.count > elements) close(bucket);
    bucket.decays = parameter.decays;
    bucket.pieces.push_back({i, bucket.size, parameter.count});
    bucket.size = round_up(bucket.size + parameter.count, kAlignment);
  }
  for (Bucket& bucket : open) close(bucket);
  return closed;
}

}  // namespace continuo
