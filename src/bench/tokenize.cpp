// `continuo bench tokenize`: speed of a tokenizer on the lines of a file, one JSON line.
#include <algorithm>
#include <barrier>
#include <exception>
#include <functional>
#include <memory>
#include <thread>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/model_directory.h"
#include "bench/bench.h"
#include "bench/commands.h"
#include "core/json.h"
#include "core/process.h"
#include "data/line_reader.h"
#include "text/tokenizer/tokenizer.h"

namespace continuo {
namespace {

using nlohmann::json;

struct TokenizeBenchConfig {
  int64_t threads = 1;
  int64_t repeats = 3;
  std::vector<std::string> fields;
};

void fields(FieldVisitor& v, TokenizeBenchConfig& c) {
  v.field("threads", c.threads, "Threads that share the texts, 0 = all cores.",
          Range::between(0, 1024));
  v.field("repeats", c.repeats, "Measured passes, after one that warms up; the median counts.",
          Range::between(1, 1000));
  v.field("fields", c.fields, "Fields of JSONL rows to encode; empty: every text in a row.");
}

// Every string in a row, wherever it stands.
void collect_texts(const json& value, std::vector<std::string>& texts) {
  if (value.is_string()) texts.push_back(value.get<std::string>());
  if (!value.is_structured()) return;
  for (const json& item : value) collect_texts(item, texts);
}

// The texts of a .jsonl file, the lines of any other.
std::vector<std::string> read_texts(const std::string& path,
                                    const std::vector<std::string>& wanted) {
  LineReader lines(path, path);
  std::vector<std::string> texts;
  while (const auto line = lines.next()) {
    if (line->empty()) continue;
    if (!path.ends_with(".jsonl")) {
      texts.emplace_back(*line);
      continue;
    }
    const Location where{.file = path, .line = static_cast<int>(lines.line())};
    const json row = parse_json(*line, where);
    if (wanted.empty()) collect_texts(row, texts);
    for (const std::string& name : wanted) {
      if (!row.is_object() || !row.contains(name))
        throw Error(where, fmt::format("the row has no field '{}'", name));
      collect_texts(row[name], texts);
    }
  }
  if (texts.empty()) throw Error(Location{.file = path}, "holds no text to encode");
  return texts;
}

struct Passes {
  std::vector<double> seconds;  // of each measured pass, all threads together
  int64_t tokens = 0;           // of one pass
};

// The same threads make every pass, so that what they remember of words is warm when it counts.
Passes measure(const Tokenizer& tokenizer, std::span<const std::string> texts,
               const TokenizeBenchConfig& c) {
  const auto count = static_cast<size_t>(c.threads);
  std::barrier meet(static_cast<std::ptrdiff_t>(count + 1));
  std::vector<int64_t> tokens(count);
  std::vector<std::exception_ptr> faults(count);
  const auto encode_share = [&](size_t share) {
    const size_t begin = texts.size() * share / count, end = texts.size() * (share + 1) / count;
    int64_t sum = 0;
    try {
      for (size_t i = begin; i < end; ++i) sum += std::ssize(tokenizer.encode(texts[i]));
    } catch (...) {
      faults[share] = std::current_exception();
    }
    tokens[share] = sum;
  };
  std::vector<std::jthread> threads;
  for (size_t share = 0; share < count; ++share) {
    threads.emplace_back([&, share] {
      for (int64_t pass = 0; pass <= c.repeats; ++pass) {
        meet.arrive_and_wait();
        encode_share(share);
        meet.arrive_and_wait();
      }
    });
  }
  Passes passes;
  for (int64_t pass = 0; pass <= c.repeats; ++pass) {
    meet.arrive_and_wait();
    const double start = seconds_now();
    meet.arrive_and_wait();
    if (pass > 0) passes.seconds.push_back(seconds_now() - start);
  }
  threads.clear();
  for (const std::exception_ptr& fault : faults) {
    if (fault) std::rethrow_exception(fault);
  }
  for (const int64_t sum : tokens) passes.tokens += sum;
  return passes;
}

void bench_tokenize(const std::string& directory, const std::string& path, TokenizeBenchConfig c) {
  if (c.threads == 0) c.threads = std::max(1u, std::thread::hardware_concurrency());
  const auto tokenizer = load_model_tokenizer(directory);
  const std::vector<std::string> texts = read_texts(path, c.fields);
  int64_t bytes = 0;
  for (const std::string& text : texts) bytes += std::ssize(text);
  Passes passes = measure(*tokenizer, texts, c);
  std::ranges::sort(passes.seconds);
  const double seconds = passes.seconds[passes.seconds.size() / 2];
  print_bench_line({{"what", "tokenize"},
                    {"tokenizer", directory},
                    {"data", path},
                    {"lines", texts.size()},
                    {"bytes", bytes},
                    {"tokens", passes.tokens},
                    {"seconds", seconds},
                    {"mb_per_s", static_cast<double>(bytes) / seconds / 1e6},
                    {"tokens_per_s", static_cast<double>(passes.tokens) / seconds},
                    {"lines_per_s", static_cast<double>(texts.size()) / seconds}},
                   c.threads);
}

}  // namespace

void add_bench_tokenize_command(CLI::App& bench) {
  struct Arguments {
    std::string tokenizer, data;
    std::vector<std::string> overrides;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = bench.add_subcommand("tokenize", "Encode the lines of a file");
  command->add_option("TOKENIZER", arguments->tokenizer, "Directory with a tokenizer, or its file")
      ->required();
  command->add_option("DATA", arguments->data, "JSONL, or text of which every line counts")
      ->required();
  command->add_option("overrides", arguments->overrides, "key=value settings");
  command->footer([] { return "Keys:\n" + config_help<TokenizeBenchConfig>(); });
  command->callback([arguments] {
    bench_tokenize(arguments->tokenizer, arguments->data,
                   read_bench_config<TokenizeBenchConfig>(arguments->overrides));
  });
}

}  // namespace continuo
