#include "text/tokenizer/json_field.h"

#include <limits>

#include <nlohmann/json.hpp>

namespace continuo {

void JsonField::fail(std::string_view message, const std::string& hint) const {
  std::string text = path_.empty() ? std::string(message) : fmt::format("{} {}", path_, message);
  throw Error(*where_, text, hint);
}

std::optional<JsonField> JsonField::find(std::string_view key) const {
  if (!value_->is_object()) fail("must be an object");
  auto found = value_->find(key);
  if (found == value_->end() || found->is_null()) return {};
  std::string path = path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  return JsonField(*found, *where_, std::move(path));
}

JsonField JsonField::at(std::string_view key) const {
  if (auto found = find(key)) return *found;
  fail(fmt::format("has no '{}'", key));
}

size_t JsonField::size() const {
  if (!value_->is_array()) fail("must be an array");
  return value_->size();
}

JsonField JsonField::item(size_t index) const {
  return JsonField((*value_)[index], *where_, fmt::format("{}[{}]", path_, index));
}

const std::string& JsonField::string() const {
  if (!value_->is_string()) fail("must be a string");
  return value_->get_ref<const std::string&>();
}

bool JsonField::boolean() const {
  if (!value_->is_boolean()) fail("must be true or false");
  return value_->get<bool>();
}

double JsonField::number() const {
  if (!value_->is_number()) fail("must be a number");
  return value_->get<double>();
}

int32_t JsonField::token_id() const {
  constexpr auto kLast = static_cast<uint64_t>(std::numeric_limits<int32_t>::max());
  if (!value_->is_number_unsigned() || value_->get<uint64_t>() > kLast) fail("must be a token id");
  return value_->get<int32_t>();
}

bool JsonField::boolean(std::string_view key, bool otherwise) const {
  auto found = find(key);
  return found ? found->boolean() : otherwise;
}

std::string JsonField::string(std::string_view key, std::string_view otherwise) const {
  auto found = find(key);
  return found ? found->string() : std::string(otherwise);
}

}  // namespace continuo
