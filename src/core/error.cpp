#include "core/error.h"

namespace continuo {
namespace {

std::string compose(const Location& where, const std::string& message, const std::string& hint) {
  std::string text = where.known() ? where.str() + ": " + message : message;
  if (!hint.empty()) text += "\n  hint: " + hint;
  return text;
}

}  // namespace

std::string Location::str() const {
  std::string text = file;
  if (line > 0) text += fmt::format(":{}", line);
  if (line > 0 && column > 0) text += fmt::format(":{}", column);
  return text;
}

Error::Error(const std::string& message, const std::string& hint)
    : std::runtime_error(compose({}, message, hint)) {}

Error::Error(const Location& where, const std::string& message, const std::string& hint)
    : std::runtime_error(compose(where, message, hint)) {}

Error Error::usage(const std::string& message, const std::string& hint) {
  Error error(message, hint);
  error.exit_code_ = 2;
  return error;
}

}  // namespace continuo
