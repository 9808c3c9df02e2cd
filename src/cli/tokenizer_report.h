// What `continuo tokenizer inspect` says about a tokenizer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/tokenizer/tokenizer.h"

namespace continuo {

struct TokenizerReport {
  struct Measure {
    std::string file;
    int64_t bytes = 0, tokens = 0, words = 0, byte_tokens = 0;
  };

  std::string type;
  int64_t size = 0;
  std::vector<std::pair<TokenId, std::string>> specials;
  std::optional<TokenId> bos, eos, pad;
  bool adds_bos = false, dummy_prefix = false, byte_fallback = false;
  std::string hash;
  std::vector<std::string> longest;  // pieces, longest first
  std::optional<Measure> measured;

  // Encodes a text file line by line.
  void measure(const Tokenizer& tokenizer, const std::filesystem::path& file);

  std::string text() const;
  std::string json() const;
};

TokenizerReport report_tokenizer(const Tokenizer& tokenizer);

// A piece on one line: control characters as \n, \t, \x1B.
std::string visible(std::string_view piece);

}  // namespace continuo
