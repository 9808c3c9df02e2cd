#include "train/bucket_plan.h"

#include <array>

namespace continuo {

std::vector<Bucket> plan_buckets(std::span<const PlannedParameter> parameters, int64_t ranks,
                                 int64_t elements) {
  std::vector<Bucket> closed;
  std::array<Bucket, 4> open;  // of those without decay, and with it; then of rounded ones
  const auto close = [&](Bucket& bucket) {
    if (bucket.pieces.empty()) return;
    bucket.size = round_up(bucket.size, kPieceAlignment * ranks);
    closed.push_back(std::move(bucket));
    bucket = {};
  };
  for (size_t i = parameters.size(); i-- > 0;) {
    const PlannedParameter& parameter = parameters[i];
    Bucket& bucket = open[(parameter.decays ? 1 : 0) + (parameter.rounded ? 2 : 0)];
    if (bucket.size + parameter.count > elements) close(bucket);
    bucket.decays = parameter.decays;
    bucket.rounded = parameter.rounded;
    bucket.pieces.push_back({i, bucket.size, parameter.count});
    bucket.size = round_up(bucket.size + parameter.count, kPieceAlignment);
  }
  for (Bucket& bucket : open) close(bucket);
  return closed;
}

}  // namespace continuo
