#include "text/tokenizer/normalizer.h"

#include <cstdlib>
#include <memory>

#include <utf8proc.h>

#include "text/tokenizer/code_points.h"
#include "text/tokenizer/pattern_field.h"

namespace continuo {
namespace {

// A Replace may make a text longer, but not without bound: several of them in a row multiply.
size_t longest_result(size_t bytes) { return (size_t{1} << 20) + 64 * bytes; }

std::string map_form(std::string_view text, int options) {
  utf8proc_uint8_t* result = nullptr;
  utf8proc_ssize_t length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                         static_cast<utf8proc_ssize_t>(text.size()), &result,
                                         static_cast<utf8proc_option_t>(options | UTF8PROC_STABLE));
  std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(result, std::free);
  if (length < 0)
    fail("a text of {} bytes cannot be normalised: {}", text.size(), utf8proc_errmsg(length));
  return {reinterpret_cast<const char*>(result), static_cast<size_t>(length)};
}

// By Unicode 9: later characters stay and part the text.
std::string normal_form(std::string_view text, int options) {
  std::string result;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    CodePoint point = first_code_point(text.substr(at));
    if (later_than_normal_forms(point.value)) {
      if (done < at) result += map_form(text.substr(done, at - done), options);
      result += text.substr(at, point.length);
      done = at + point.length;
    }
    at += point.length;
  }
  if (done == 0) return map_form(text, options);
  if (done < text.size()) result += map_form(text.substr(done), options);
  return result;
}

std::string replace_all(std::string_view text, const Regex& pattern, const std::string& content,
                        size_t longest) {
  std::string result;
  size_t copied = 0;
  RegexMatches matches(pattern, text);
  while (auto match = matches.next()) {
    result += text.substr(copied, match->begin - copied);
    result += content;
    copied = match->end;
    if (result.size() > longest) break;
  }
  result += text.substr(copied);
  if (result.size() > longest) {
    fail("the normalizer's Replace of '{}' makes a text longer than {} bytes", pattern.pattern(),
         longest);
  }
  return result;
}

int form_options(const std::string& type) {
  if (type == "NFC") return UTF8PROC_COMPOSE;
  if (type == "NFD") return UTF8PROC_DECOMPOSE;
  if (type == "NFKC") return UTF8PROC_COMPOSE | UTF8PROC_COMPAT;
  if (type == "NFKD") return UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT;
  return 0;
}

}  // namespace

Normalizer::Normalizer(const JsonField& field) {
  for_each_step(field, "normalizers", [&](const JsonField& step, const std::string& type) {
    description_ += fmt::format("{}:{}", type.size(), type);
    auto note = [&](const std::string& value) {
      description_ += fmt::format("({}:{})", value.size(), value);
    };
    if (int options = form_options(type)) {
      steps_.emplace_back(Form{options});
    } else if (type == "Prepend") {
      const std::string text = step.at("prepend").string();
      if (text != " " && text != "\u2581") {
        step.at("prepend").fail("must be a space or U+2581; others are not supported");
      }
      prepends_ = true;
      note(text);
      steps_.emplace_back(Prepend{text});
    } else if (type == "Replace") {
      JsonField pattern = step.at("pattern");
      const std::string content = step.at("content").string();
      steps_.emplace_back(Replace{read_pattern(pattern), content});
      auto literal = pattern.find("String");
      if (literal && literal->string() == " " && !content.empty()) space_sign_ = content;
      note(std::get<Replace>(steps_.back()).pattern.pattern());
      note(content);
    } else {
      step.at("type").fail(fmt::format("'{}' is not a normalizer that is supported", type),
                           "supported are NFC, NFD, NFKC, NFKD, Prepend, Replace, Sequence");
    }
  });
}

std::string_view Normalizer::apply(std::string_view text, bool opening,
                                   std::string& storage) const {
  bool changed = false;
  auto current = [&] { return changed ? std::string_view(storage) : text; };
  auto become = [&](std::string result) {
    storage = std::move(result);
    changed = true;
  };
  for (const auto& step : steps_) {
    if (const auto* form = std::get_if<Form>(&step)) {
      if (!is_ascii(current())) become(normal_form(current(), form->options));
    } else if (const auto* prepend = std::get_if<Prepend>(&step)) {
      if (opening && !current().empty()) become(prepend->text + std::string(current()));
    } else {
      const auto& replace = std::get<Replace>(step);
      become(replace_all(current(), replace.pattern, replace.content, longest_result(text.size())));
    }
  }
  return current();
}

}  // namespace continuo
