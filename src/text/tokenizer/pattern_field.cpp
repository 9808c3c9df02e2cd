#include "text/tokenizer/pattern_field.h"

namespace continuo {

Regex read_pattern(const JsonField& pattern) {
  auto compile = [](const JsonField& field, auto make) {
    const std::string& text = field.string();
    try {
      return make(text);
    } catch (const Error& error) {
      field.fail(fmt::format("'{}': {}", text, error.what()));
    }
  };
  if (auto text = pattern.find("String")) {
    if (text->string().empty()) text->fail("must not be empty");
    return compile(*text, [](const std::string& s) { return Regex::literal(s); });
  }
  if (auto regex = pattern.find("Regex")) {
    return compile(*regex, [](const std::string& s) { return Regex(s); });
  }
  pattern.fail("must hold 'Regex' or 'String'");
}

void for_each_step(const JsonField& field, std::string_view list,
                   const std::function<void(const JsonField&, const std::string&)>& read,
                   int depth) {
  if (depth > 16) field.fail("is nested too deep");
  const std::string type = field.at("type").string();
  if (type != "Sequence") {
    read(field, type);
    return;
  }
  JsonField steps = field.at(list);
  for (size_t i = 0; i < steps.size(); ++i) for_each_step(steps.item(i), list, read, depth + 1);
}

}  // namespace continuo
