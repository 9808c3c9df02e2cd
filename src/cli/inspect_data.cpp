#include "cli/inspect_data.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

#include "core/utf8.h"
#include "data/store_statistics.h"

namespace continuo {
namespace {

constexpr int kBarWidth = 40;
constexpr std::string_view kTrainedColour = "\x1b[32m";  // green
constexpr std::string_view kSpecialColour = "\x1b[2m";   // faint
constexpr std::string_view kReset = "\x1b[0m";

struct Piece {
  std::string text;
  bool trained = false;
  bool special = false;
};

// Neighbouring tokens of one kind are one piece, so that characters of several tokens come out
// whole.
std::vector<Piece> pieces_of(const ExampleView& example, const Tokenizer& tokenizer) {
  std::vector<Piece> pieces;
  bool opened = false;
  for (size_t i = 0; i < example.tokens.size(); ++i) {
    const TokenId id = example.tokens[i];
    const bool special = tokenizer.is_special(id);
    const bool trained = example.trained[i] != 0;
    std::string text = special ? tokenizer.piece(id) : tokenizer.token_bytes(id);
    if (!special && !opened) {
      if (tokenizer.has_dummy_prefix() && text.starts_with(' ')) text.erase(0, 1);
      opened = true;
    }
    if (pieces.empty() || pieces.back().trained != trained || pieces.back().special != special) {
      pieces.push_back({"", trained, special});
    }
    pieces.back().text += text;
  }
  return pieces;
}

std::string shown_bytes(std::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    const Utf8Step step = utf8_step(bytes);
    const auto byte = static_cast<unsigned char>(bytes[0]);
    if (step.kind != Utf8Step::Kind::kComplete) {
      for (const char c : bytes.substr(0, step.length)) {
        text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
      }
    } else if (byte == '\n') {
      text += "↵\n";
    } else if (byte == '\t') {
      text += "⇥";
    } else if (byte < 0x20 || byte == 0x7F) {
      text += fmt::format("\\x{:02x}", byte);
    } else {
      text += bytes.substr(0, step.length);
    }
    bytes.remove_prefix(step.length);
  }
  return text;
}

std::string percent(int64_t part, int64_t whole) {
  return whole == 0 ? "-"
                    : fmt::format("{:.1f} %",
                                  100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string histogram(const StoreStatistics& stats) {
  int64_t most = 1;
  for (const LengthBin& bin : stats.histogram) most = std::max(most, bin.count);
  std::string text;
  for (const LengthBin& bin : stats.histogram) {
    // A bin that is not empty shows at least one mark.
    const int64_t marks = (bin.count * kBarWidth + most - 1) / most;
    std::string bar;
    for (int64_t i = 0; i < marks; ++i) bar += "█";
    text += fmt::format("    {:>6}–{:<6} {:>8}  {}\n", bin.low, bin.high, bin.count, bar);
  }
  return text;
}

std::string source_line(const ExampleStore& store, int64_t source) {
  return fmt::format(
      "    {}: {}{}\n", store.source_name(source), summary(store.source_report(source)),
      store.weight(source) == 1 ? "" : fmt::format(", weight {}", store.weight(source)));
}

}  // namespace

std::string show_example(const ExampleView& example, const Tokenizer& tokenizer, bool colour) {
  std::string text;
  bool inside = false;
  for (const Piece& piece : pieces_of(example, tokenizer)) {
    if (!colour && piece.trained != inside) text += piece.trained ? "⟦" : "⟧";
    inside = piece.trained;
    if (colour && piece.trained) text += kTrainedColour;
    if (colour && piece.special) text += kSpecialColour;
    text += shown_bytes(piece.text);
    if (colour && (piece.trained || piece.special)) text += kReset;
  }
  return !colour && inside ? text + "⟧" : text;
}

std::string data_report(const ExampleStore& store, const Tokenizer& tokenizer, int64_t examples,
                        bool colour) {
  const StoreStatistics stats = store_statistics(store, tokenizer.eos());
  const StoreReport& report = store.report();
  std::string text = fmt::format("rows          {} read, {} kept\n", report.rows, report.kept);
  for (int64_t s = 0; s < store.sources(); ++s) text += source_line(store, s);
  for (const auto& [reason, count] : report.dropped) {
    text += fmt::format("dropped       {} ({}): {}\n", count, percent(count, report.rows), reason);
  }
  if (report.truncated > 0) {
    text += fmt::format("truncated     {} ({}): lost the left of their prompt\n", report.truncated,
                        percent(report.truncated, report.rows));
  }
  text += fmt::format("examples      {}\n", stats.examples);
  if (stats.examples == 0) return text;
  text += fmt::format("tokens        {}, trained {} ({})\n", stats.tokens, stats.trained,
                      percent(stats.trained, stats.tokens));
  text += fmt::format("end trained   {} of the examples end in a trained end of sequence\n",
                      percent(stats.eos_trained, stats.examples));
  text += fmt::format("length        min {}, median {}, p95 {}, max {} tokens\n", stats.shortest,
                      stats.median, stats.p95, stats.longest);
  text += histogram(stats);
  for (int64_t i = 0; i < std::min(examples, store.size()); ++i) {
    const ExampleView example = store[i];
    const int64_t trained = std::count(example.trained.begin(), example.trained.end(), 1);
    text += fmt::format("\n── {}: {} tokens, {} trained ──\n{}\n", store.where(i),
                        example.tokens.size(), trained, show_example(example, tokenizer, colour));
  }
  return text;
}

void print_data_report(const ExampleStore& store, const Tokenizer& tokenizer, int64_t examples,
                       bool colour) {
  const std::string text = data_report(store, tokenizer, examples, colour);
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace continuo
