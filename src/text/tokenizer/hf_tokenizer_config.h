// The part of transformers' tokenizer_config.json (and the older added_tokens.json and
// special_tokens_map.json) that changes ids: which tokens are special, which exist beside the model
// file, which one is BOS, EOS and pad. Keeps the keys it does not know.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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
    // As in tokenizer.json; added_tokens.json says nothing of them.
    bool has_flags = false;
    bool single_word = false, lstrip = false, rstrip = false, normalized = false;
  };

  NamedToken bos, eos, unk, pad;
  // `add_bos_token`. Where a tokenizer.json lies beside, its post-processor counts instead, as in
  // transformers.
  std::optional<bool> add_bos;
  std::map<int64_t, AddedToken> added;     // by id
  std::vector<std::string> extra_special;  // tokens that are special under other names
  std::string json = "{}";                 // the whole document
  // What the files were, byte for byte, and that of the chat template, by name.
  std::map<std::string, std::string> files;

  // Of a directory; the defaults when it has no such file. Error: damaged JSON, values of the wrong
  // type.
  static HfTokenizerConfig read(const std::filesystem::path& directory);
  // The document to write: the one that was read, with our tokens and what `adds_bos` says. The
  // name of transformers' class and `dummy_prefix` are used when it is new.
  std::string dump(std::string_view tokenizer_class, bool dummy_prefix, bool adds_bos) const;
};

}  // namespace continuo
