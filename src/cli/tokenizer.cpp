#include "cli/tokenizer.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <memory>
#include <set>
#include <sstream>

#include <CLI/CLI.hpp>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "app/model_directory.h"
#include "cli/tokenizer_report.h"
#include "core/files.h"
#include "core/log.h"
#include "core/progress.h"
#include "text/tokenizer/sentencepiece_tokenizer.h"
#include "text/tokenizer/sentencepiece_trainer.h"
#include "text/tokenizer/tokenizer_train_config.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;

struct TrainArguments {
  std::vector<std::string> words;  // CONFIG.yaml and key=value
  std::vector<std::string> inputs, fields;
  std::string output;
};

struct CodeArguments {
  std::string tokenizer, text, file;
  std::vector<std::string> ids;
  bool has_text = false, pieces = false, json = false, continuation = false, special = false;
};

// ---- train

ConfigNode string_node(const std::string& text, const std::string& flag) {
  ConfigNode node;
  node.kind = ConfigNode::Kind::kScalar;
  node.scalar = text;
  node.quoted = true;
  node.where = {.file = flag};
  return node;
}

ConfigNode list_node(std::vector<ConfigNode> items, const std::string& flag) {
  ConfigNode node;
  node.kind = ConfigNode::Kind::kList;
  node.items = std::move(items);
  node.where = {.file = flag};
  return node;
}

void set(ConfigNode& map, const std::string& key, ConfigNode value) {
  map.kind = ConfigNode::Kind::kMap;
  if (ConfigNode* old = map.find(key)) {
    *old = std::move(value);
  } else {
    map.fields.emplace_back(key, std::move(value));
  }
}

ConfigNode read_arguments(const TrainArguments& arguments) {
  ConfigNode root;
  root.kind = ConfigNode::Kind::kMap;
  bool has_file = false;
  for (const std::string& word : arguments.words) {
    if (word.find('=') != std::string::npos) continue;
    if (has_file)
      throw Error::usage(fmt::format("'{}': one configuration at a time", word),
                         "overrides look like vocab_size=8000");
    root = load_yaml(word);
    has_file = true;
  }
  for (const std::string& word : arguments.words) {
    if (word.find('=') != std::string::npos) apply_override(root, word);
  }
  if (!arguments.fields.empty() && arguments.inputs.empty()) {
    throw Error::usage("--field goes with --input",
                       "in a configuration: inputs.0.fields=[prompt, completion]");
  }
  std::vector<ConfigNode> fields, inputs;
  for (const std::string& name : arguments.fields) fields.push_back(string_node(name, "--field"));
  for (const std::string& path : arguments.inputs) {
    ConfigNode input;
    input.where = {.file = "--input"};
    set(input, "path", string_node(path, "--input"));
    if (!fields.empty()) set(input, "fields", list_node(fields, "--field"));
    inputs.push_back(std::move(input));
  }
  if (!inputs.empty()) set(root, "inputs", list_node(std::move(inputs), "--input"));
  if (!arguments.output.empty()) set(root, "output", string_node(arguments.output, "--output"));
  return root;
}

// The output directory is replaced as a whole, so it must hold nothing but an earlier tokenizer.
void check_replaceable(const fs::path& output) {
  static const std::set<std::string> kOurs{"tokenizer.model", "tokenizer_config.json",
                                           "tokenizer.json", "tokenizer.yaml"};
  if (!fs::exists(output)) return;
  if (!fs::is_directory(output))
    fail("{}: is a file, not a directory to write a tokenizer to", output.string());
  for (const auto& entry : fs::directory_iterator(output)) {
    if (!kOurs.contains(entry.path().filename().string())) {
      throw Error(fmt::format("{} holds other files ({}) and would be replaced", output.string(),
                              entry.path().filename().string()),
                  "give the tokenizer a directory of its own");
    }
  }
}

int64_t total_bytes(const TokenizerTrainConfig& config) {
  int64_t bytes = 0;
  for (const TokenizerInput& input : config.inputs)
    bytes += static_cast<int64_t>(fs::file_size(input.path));
  return bytes;
}

void train(const TrainArguments& arguments) {
  ConfigNode root = read_arguments(arguments);
  Problems problems;
  TokenizerTrainConfig config;
  load_config(root, config, problems);
  config = resolve_tokenizer_train_config(config, root, problems);
  if (config.output.empty())
    problems.add(locate(root, "output"), "output: no directory to write", "--output DIR");
  problems.raise();
  check_replaceable(config.output);

  std::string model;
  {
    Progress progress({.title = "Reading", .total = total_bytes(config), .unit = "bytes"});
    bool reading = true;
    model = train_sentencepiece(config, [&](int64_t bytes) {
      progress.update(bytes);
      if (reading && bytes >= total_bytes(config)) {
        reading = false;
        progress.finish();
        log_info("Learning {} pieces", config.vocab_size);
      }
    });
  }
  SentencePieceTokenizer tokenizer(model);
  fs::path output = fs::absolute(config.output).lexically_normal();
  if (!output.has_filename()) output = output.parent_path();
  AtomicDirectory directory(output);
  tokenizer.save(directory.path());
  atomic_write(directory / "tokenizer.yaml", dump_config(config, &root));
  directory.commit();
  log_info("Wrote {}: {} pieces, hash {}", config.output, tokenizer.size(), tokenizer.hash());
}

// ---- encode, decode

std::string read_stdin() { return {std::istreambuf_iterator<char>(std::cin), {}}; }

void write_stdout(std::string_view bytes) {
  std::cout.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!std::cout.flush()) fail("standard output cannot be written");
}

std::string text_to_encode(const CodeArguments& arguments) {
  if (arguments.has_text && !arguments.file.empty()) {
    throw Error::usage("both TEXT and --file are given");
  }
  if (arguments.has_text) return arguments.text;
  return arguments.file.empty() ? read_stdin() : read_file(arguments.file);
}

void encode(const CodeArguments& arguments) {
  auto tokenizer = load_model_tokenizer(arguments.tokenizer);
  std::string text = text_to_encode(arguments);
  std::vector<TokenId> ids =
      arguments.continuation ? tokenizer->encode_continuation(text) : tokenizer->encode(text);
  std::vector<std::string> pieces;
  for (TokenId id : ids) pieces.push_back(tokenizer->piece(id));
  if (arguments.json) {
    write_stdout(nlohmann::json{{"ids", ids}, {"pieces", pieces}}.dump() + "\n");
  } else if (arguments.pieces) {
    for (std::string& piece : pieces) piece = visible(piece);
    write_stdout(fmt::format("{}\n", fmt::join(pieces, " ")));
  } else {
    write_stdout(fmt::format("{}\n", fmt::join(ids, " ")));
  }
}

// Accepts what encode prints and JSON lists: numbers between spaces, commas and brackets.
std::vector<TokenId> parse_ids(std::string text) {
  std::ranges::replace_if(text, [](char c) { return c == ',' || c == '[' || c == ']'; }, ' ');
  std::istringstream words(text);
  std::vector<TokenId> ids;
  for (std::string word; words >> word;) {
    TokenId id = 0;
    auto [end, fault] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (fault != std::errc{} || end != word.data() + word.size())
      throw Error::usage(fmt::format("'{}' is not a token id", word));
    ids.push_back(id);
  }
  return ids;
}

void decode(const CodeArguments& arguments) {
  auto tokenizer = load_model_tokenizer(arguments.tokenizer);
  std::string words =
      arguments.ids.empty() ? read_stdin() : fmt::format("{}", fmt::join(arguments.ids, " "));
  std::string text = tokenizer->decode(parse_ids(words), arguments.special);
  if (isatty(STDOUT_FILENO)) text += '\n';
  write_stdout(text);
}

void inspect(const CodeArguments& arguments) {
  auto tokenizer = load_model_tokenizer(arguments.tokenizer);
  TokenizerReport report = report_tokenizer(*tokenizer);
  if (!arguments.file.empty()) report.measure(*tokenizer, arguments.file);
  write_stdout(arguments.json ? report.json() + "\n" : report.text());
}

// ---- wiring

void add_tokenizer_argument(CLI::App& command, CodeArguments& arguments) {
  command
      .add_option("TOKENIZER", arguments.tokenizer,
                  "A tokenizer (directory or file) or a model that has one: directory, run, .gguf")
      ->required();
}

void add_train(CLI::App& tokenizer) {
  auto arguments = std::make_shared<TrainArguments>();
  CLI::App* command =
      tokenizer.add_subcommand("train", "Learn a SentencePiece vocabulary from texts");
  command->add_option("CONFIG", arguments->words, "Configuration file, then key=value overrides");
  command->add_option("-i,--input", arguments->inputs,
                      "File to learn from, instead of `inputs`; may be repeated");
  command->add_option("-f,--field", arguments->fields,
                      "Field of the JSONL rows of --input; may be repeated");
  command->add_option("-o,--output", arguments->output, "Directory to write");
  command->footer([] { return "Configuration keys:\n" + config_help<TokenizerTrainConfig>(); });
  command->callback([arguments] { train(*arguments); });
}

void add_encode(CLI::App& tokenizer) {
  auto arguments = std::make_shared<CodeArguments>();
  CLI::App* command = tokenizer.add_subcommand("encode", "Text to token ids");
  add_tokenizer_argument(*command, *arguments);
  CLI::Option* text =
      command->add_option("TEXT", arguments->text, "Text; standard input when absent");
  command->add_option("--file", arguments->file, "Read the text from a file");
  command->add_flag("--continuation", arguments->continuation,
                    "The text continues a document: no dummy prefix");
  command->add_flag("--pieces", arguments->pieces, "Print pieces instead of ids");
  command->add_flag("--json", arguments->json, "Print one JSON object with ids and pieces");
  command->callback([arguments, text] {
    arguments->has_text = text->count() > 0;
    encode(*arguments);
  });
}

void add_decode(CLI::App& tokenizer) {
  auto arguments = std::make_shared<CodeArguments>();
  CLI::App* command = tokenizer.add_subcommand("decode", "Token ids to text");
  add_tokenizer_argument(*command, *arguments);
  command->add_option("IDS", arguments->ids, "Token ids; standard input when absent");
  command->add_flag("--special", arguments->special, "Show special tokens");
  command->callback([arguments] { decode(*arguments); });
}

void add_inspect(CLI::App& tokenizer) {
  auto arguments = std::make_shared<CodeArguments>();
  CLI::App* command = tokenizer.add_subcommand(
      "inspect", "What a tokenizer holds and how well it compresses a text");
  add_tokenizer_argument(*command, *arguments);
  command->add_option("--file", arguments->file, "Text to measure");
  command->add_flag("--json", arguments->json, "Print one JSON object");
  command->callback([arguments] { inspect(*arguments); });
}

}  // namespace

void add_tokenizer_command(CLI::App& app) {
  CLI::App* tokenizer = app.add_subcommand("tokenizer", "Train and try tokenizers");
  tokenizer->require_subcommand(1);
  add_train(*tokenizer);
  add_encode(*tokenizer);
  add_decode(*tokenizer);
  add_inspect(*tokenizer);
}

}  // namespace continuo
