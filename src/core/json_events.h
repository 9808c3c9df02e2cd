// JSON text read piece by piece, for documents of which not everything is wanted as a tree.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace continuo {

// What a document consists of, in its order; handlers override what they want and throw what they
// refuse.
class JsonEvents : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return true; }
  bool key(string_t&) override { return true; }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(std::size_t byte, const std::string&,
                   const nlohmann::detail::exception& error) final;

 private:
  friend void parse_json(std::string_view, const Location&, JsonEvents&);
  std::size_t error_byte_ = 0;  // counts from 1
  std::string error_;
};

// Errors as those of parse_json in core/json.h.
void parse_json(std::string_view text, const Location& where, JsonEvents& events);

}  // namespace continuo
