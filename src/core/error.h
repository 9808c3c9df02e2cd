// The one exception of the project. It says what is wrong, where (file:line:column) and how to fix
// it. Thrown anywhere, caught once, in main. Knows nothing about tensors, text or configuration.
#pragma once

#include <stdexcept>
#include <string>

#include <fmt/format.h>

namespace continuo {

// A place in a file; line and column count from 1, 0 = not known.
struct Location {
  std::string file;
  int line = 0;
  int column = 0;

  bool known() const { return !file.empty(); }
  std::string str() const;  // "file", "file:line" or "file:line:column"
};

class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, const std::string& hint = {});
  Error(const Location& where, const std::string& message, const std::string& hint = {});

  // Wrong usage of the command line: exit code 2 instead of 1.
  static Error usage(const std::string& message, const std::string& hint = {});

  int exit_code() const { return exit_code_; }

 private:
  int exit_code_ = 1;
};

// Throws an Error with a formatted message.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace continuo
