#include "train/make_gradients.h"

#include "train/parted_gradients.h"
#include "train/ranked_gradients.h"

namespace continuo {

std::unique_ptr<Gradients> make_gradients(Decoder& decoder, const NamedParameters& trained,
                                          Communicator& ranks, Shard shard,
                                          std::optional<at::ScalarType> frozen) {
  if (ranks.size() == 1) return std::make_unique<LocalGradients>(trained);
  if (shard == Shard::kAll)
    return std::make_unique<PartedGradients>(decoder, trained, ranks, frozen);
  return std::make_unique<RankedGradients>(trained, ranks, RankedGradients::Options{.shard = shard},
                                           &decoder);
}

}  // namespace continuo
