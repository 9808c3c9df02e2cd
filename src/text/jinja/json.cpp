// JSON documents as values.
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "text/jinja/value.h"

namespace continuo::jinja {
namespace {

using OrderedJson = nlohmann::ordered_json;

Value value_of_json(const OrderedJson& json, int32_t origin) {
  const auto text = [&](const std::string& bytes) { return Value(Text(bytes, origin)); };
  switch (json.type()) {
    case OrderedJson::value_t::null:
      return Value(None{});
    case OrderedJson::value_t::boolean:
      return Value(json.get<bool>());
    case OrderedJson::value_t::number_integer:
      return Value(json.get<int64_t>());
    case OrderedJson::value_t::number_unsigned:
      if (json.get<uint64_t>() > INT64_MAX) fail("the number {} is too large", json.dump());
      return Value(json.get<int64_t>());
    case OrderedJson::value_t::number_float:
      return Value(json.get<double>());
    case OrderedJson::value_t::string:
      return text(json.get_ref<const std::string&>());
    case OrderedJson::value_t::array: {
      std::vector<Value> items;
      for (const OrderedJson& item : json) items.push_back(value_of_json(item, origin));
      return Value::list(std::move(items));
    }
    case OrderedJson::value_t::object: {
      std::vector<std::pair<Value, Value>> entries;
      for (const auto& [key, item] : json.items()) {
        entries.emplace_back(text(key), value_of_json(item, origin));
      }
      return Value::dict(std::move(entries));
    }
    default:
      fail("a value that JSON does not have");
  }
}

}  // namespace

Value from_json(std::string_view document, int32_t origin) {
  try {
    return value_of_json(OrderedJson::parse(document), origin);
  } catch (const OrderedJson::parse_error& error) {
    fail("no JSON: {}", error.what());
  }
}

}  // namespace continuo::jinja
