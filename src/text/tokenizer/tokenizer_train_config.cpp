#include "text/tokenizer/tokenizer_train_config.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "core/utf8.h"

namespace continuo {

std::span<const EnumName> enum_names(TokenizerModel) {
  static constexpr EnumName kNames[] = {{"unigram", static_cast<int>(TokenizerModel::kUnigram)},
                                        {"bpe", static_cast<int>(TokenizerModel::kBpe)}};
  return kNames;
}

void fields(FieldVisitor& v, TokenizerInput& c) {
  v.field("path", c.path, "Text file, or JSONL when fields are named.");
  v.required();
  v.field("fields", c.fields,
          "JSONL fields to read: a string, or a list of strings or of turns with `content`.");
}

void fields(FieldVisitor& v, TokenizerTrainConfig& c) {
  v.list("inputs", c.inputs, "Files to learn from.");
  v.field("output", c.output, "Directory to write.");
  v.field("vocab_size", c.vocab_size, "Pieces in all, with specials and bytes.",
          Range::between(8, 1 << 24));
  v.field("model", c.model, "Unigram language model or byte-pair encoding.");
  v.field("byte_fallback", c.byte_fallback, "256 byte pieces, so that every text can be encoded.");
  v.field("split_digits", c.split_digits, "Every digit is a piece of its own.");
  v.field("add_dummy_prefix", c.add_dummy_prefix, "Put a space before every document.");
  v.field("character_coverage", c.character_coverage,
          "Share of the characters that get a piece of their own.", {.low = 0.9, .high = 1});
  v.field("specials", c.specials,
          "Reserved pieces (\"<|user|>\") that plain text never produces; ids from 4.");
  v.field("max_piece_length", c.max_piece_length, "Characters in a piece at most.",
          Range::between(1, 512));
  v.field("max_sentence_length", c.max_sentence_length,
          "Bytes of text looked at together at most; longer text is cut at lines and spaces.",
          Range::between(64, 1 << 20));
  v.field("sample", c.sample, "Share of the text to learn from, chosen by the seed.",
          {.low = 0, .high = 1, .open_low = true});
  v.field("seed", c.seed, "Seed of the sample.", Range::at_least(0));
  v.field("threads", c.threads, "Threads. Another number may change scores in the last digit.",
          Range::between(1, 1024));
}

namespace {

void check_specials(const std::vector<std::string>& specials, const Location& where,
                    Problems& problems) {
  std::set<std::string> seen(std::begin(kBaseSpecials), std::end(kBaseSpecials));
  for (const std::string& special : specials) {
    if (special.empty() || find_invalid_utf8(special) ||
        special.find_first_of(" \t\r\n,\"") != std::string::npos ||
        special.find("\xE2\x96\x81") != std::string::npos) {
      problems.add(
          where,
          fmt::format("special '{}' must be text without white space, commas and quotes", special));
    } else if (special.starts_with("<0x")) {
      problems.add(where, fmt::format("special '{}' looks like a byte piece", special));
    } else if (!seen.insert(special).second) {
      problems.add(where, fmt::format("special '{}' is there already", special),
                   "<unk>, <s>, </s> and <pad> are always reserved");
    }
  }
}

std::string resolve_path(const std::string& path, const Location& where) {
  std::filesystem::path file(path);
  std::error_code ignored;
  bool from_yaml = std::filesystem::is_regular_file(where.file, ignored);
  if (file.is_relative() && from_yaml) {
    file = std::filesystem::path(where.file).parent_path() / file;
  }
  return std::filesystem::absolute(file).lexically_normal().string();
}

}  // namespace

TokenizerTrainConfig resolve_tokenizer_train_config(TokenizerTrainConfig config,
                                                    const ConfigNode& root, Problems& problems) {
  if (config.inputs.empty()) {
    problems.add(locate(root, "inputs"), "inputs: at least one file is needed",
                 "inputs: [{path: data.jsonl, fields: [prompt, completion]}]");
  }
  for (size_t i = 0; i < config.inputs.size(); ++i) {
    TokenizerInput& input = config.inputs[i];
    if (input.path.empty()) continue;
    Location where = locate(root, fmt::format("inputs.{}.path", i));
    input.path = resolve_path(input.path, where);
    if (!std::filesystem::is_regular_file(input.path)) {
      problems.add(where, fmt::format("inputs.{}.path: no such file: {}", i, input.path));
    } else if (input.fields.empty() && input.path.ends_with(".jsonl")) {
      problems.add(
          locate(root, fmt::format("inputs.{}", i)),
          fmt::format("inputs.{}: {} holds JSON rows, but no fields are named", i, input.path),
          "fields: [prompt, completion]");
    }
  }
  check_specials(config.specials, locate(root, "specials"), problems);
  int64_t reserved = static_cast<int64_t>(std::size(kBaseSpecials) + config.specials.size()) +
                     (config.byte_fallback ? 256 : 0);
  if (config.vocab_size <= reserved) {
    problems.add(
        locate(root, "vocab_size"),
        fmt::format("vocab_size: {} leaves no room beside {} reserved pieces{}", config.vocab_size,
                    reserved, config.byte_fallback ? " (256 of them bytes)" : ""));
  }
  return config;
}

}  // namespace continuo
