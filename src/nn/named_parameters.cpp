#include "nn/named_parameters.h"

#include <map>

#include "nn/decoder.h"

namespace continuo {

std::vector<NamedParameters> parameters_by_part(const Decoder& decoder) {
  std::map<const c10::TensorImpl*, size_t> place;
  const auto parts = decoder.parts();
  for (size_t p = 0; p < parts.size(); ++p) {
    for (const at::Tensor& parameter : parts[p])
      place.try_emplace(parameter.unsafeGetTensorImpl(), p + 1);
  }
  std::vector<NamedParameters> named(parts.size() + 1);
  for (const auto& item : decoder.named_parameters()) {
    const auto part = place.find(item.value().unsafeGetTensorImpl());
    named[part == place.end() ? 0 : part->second].emplace_back(item.key(), item.value());
  }
  return named;
}

}  // namespace continuo
