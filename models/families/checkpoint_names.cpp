#include "models/families/checkpoint_names.h"

#include <optional>

#include "core/error.h"

namespace continuo {

namespace {

std::optional<std::string> look_up(std::span<const NamePair> pairs, std::string_view name) {
  for (const auto& [ours, theirs] : pairs) {
    if (name == ours) return std::string(theirs);
    if (ours.ends_with('.') && name.starts_with(ours))
      return std::string(theirs) + std::string(name.substr(ours.size()));
  }
  return std::nullopt;
}

}  // namespace

std::string NameMap::stored(const std::string& parameter) const {
  constexpr std::string_view kBlocks = "blocks_";
  const size_t dot = parameter.find('.');
  std::optional<std::string> name;
  if (parameter.starts_with(kBlocks) && dot != std::string::npos) {
    name = look_up(parts, std::string_view(parameter).substr(dot + 1));
    if (name)
      return fmt::format("{}{}.{}", blocks, parameter.substr(kBlocks.size(), dot - kBlocks.size()),
                         *name);
  } else {
    name = look_up(whole, parameter);
    if (name) return *name;
  }
  fail("parameter '{}' has no name in this family's checkpoints", parameter);
}

std::vector<int64_t> Placement::stored_shape(at::IntArrayRef parameter) const {
  std::vector<int64_t> shape = parameter.vec();
  if (width > 0) shape[0] = blocks * width;
  if (transposed) std::swap(shape[0], shape[1]);
  return shape;
}

at::Tensor Placement::part(const at::Tensor& stored, at::IntArrayRef parameter) const {
  const at::Tensor rows = transposed ? stored.t() : stored;
  if (width == 0) return rows;
  const int64_t size = parameter[0] / blocks;
  if (blocks == 1) return rows.narrow(0, begin, size);
  std::vector<int64_t> split = {blocks, width};
  for (size_t i = 1; i < parameter.size(); ++i) split.push_back(parameter[i]);
  return rows.view(split).narrow(1, begin, size);
}

}  // namespace continuo
