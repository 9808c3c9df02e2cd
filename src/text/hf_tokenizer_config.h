// The part of transformers' tokenizer_config.json (and the older added_tokens.json) that changes
// ids: which tokens are special, which exist beside the model file, which one is BOS, EOS and pad.
// Keeps the keys it does not know.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace continuo {

struct HfTokenizerConfig {
  // A special token that the file may name, set to null, or not mention.
  struct NamedToken {
    bool mentioned = false;
    std::optional<std::string> text;
  };
  struct AddedToken {
    std::string text;
    bool special = true;
  };

  NamedToken bos, eos, unk, pad;
  std::map<int64_t, AddedToken> added;  // by id
  std::string json = "{}";              // the whole document

  // Of a directory; the defaults when it has neither file. Error: damaged JSON, values of the wrong
  // type.
  static HfTokenizerConfig read(const std::filesystem::path& directory);
  // The document to write: the one that was read, with our tokens. The name of transformers' class
  // and `dummy_prefix` are used when it is new.
  std::string dump(std::string_view tokenizer_class, bool dummy_prefix) const;
};

}  // namespace continuo
