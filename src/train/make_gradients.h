// The gradients of a run, as its ranks and `train.shard` want them.
#pragma once

#include <memory>
#include <optional>

#include "nn/decoder.h"
#include "train/gradients.h"
#include "train/train_config.h"

namespace continuo {

// `trained`: parameters of the decoder or of its adapters. The decoder and `ranks` outlive it.
// A process alone parts nothing. `frozen`: the dtype of frozen weights where these are parted too;
// without one they stay as they are.
std::unique_ptr<Gradients> make_gradients(Decoder& decoder, const NamedParameters& trained,
                                          Communicator& ranks, Shard shard,
                                          std::optional<at::ScalarType> frozen = {});

}  // namespace continuo
