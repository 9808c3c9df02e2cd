#include "cli/tokenizer_report.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "text/tokenizer/sentencepiece_tokenizer.h"

namespace continuo {
namespace {

constexpr size_t kLongest = 12;

bool is_byte_piece(const Tokenizer& tokenizer, TokenId id) {
  std::string piece = tokenizer.piece(id);
  return piece.size() == 6 && piece.starts_with("<0x") && tokenizer.token_bytes(id).size() == 1;
}

size_t characters(std::string_view text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

double ratio(int64_t a, int64_t b) {
  return b == 0 ? 0 : static_cast<double>(a) / static_cast<double>(b);
}

std::string named(std::string_view name, std::optional<TokenId> id) {
  return id ? fmt::format("{} {}", name, *id) : fmt::format("no {}", name);
}

nlohmann::json optional_id(std::optional<TokenId> id) {
  return id ? nlohmann::json(*id) : nlohmann::json(nullptr);
}

}  // namespace

TokenizerReport report_tokenizer(const Tokenizer& tokenizer) {
  TokenizerReport report;
  report.size = tokenizer.size();
  report.bos = tokenizer.bos();
  report.eos = tokenizer.eos();
  report.pad = tokenizer.pad();
  report.adds_bos = tokenizer.adds_bos();
  report.dummy_prefix = tokenizer.has_dummy_prefix();
  report.hash = tokenizer.hash();
  if (const auto* model = dynamic_cast<const SentencePieceTokenizer*>(&tokenizer)) {
    report.type = "SentencePiece " + model->model_type();
    report.byte_fallback = model->has_byte_fallback();
  }
  for (TokenId id = 0; id < report.size; ++id) {
    if (tokenizer.is_special(id)) {
      report.specials.emplace_back(id, tokenizer.piece(id));
    } else if (!is_byte_piece(tokenizer, id)) {
      report.longest.push_back(tokenizer.piece(id));
    }
  }
  std::ranges::stable_sort(report.longest, std::ranges::greater(), characters);
  if (report.longest.size() > kLongest) report.longest.resize(kLongest);
  return report;
}

void TokenizerReport::measure(const Tokenizer& tokenizer, const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream || std::filesystem::is_directory(file))
    throw Error(Location{.file = file.string()}, "cannot be read");
  Measure sums{.file = file.string()};
  for (std::string line; std::getline(stream, line);) {
    if (!stream.eof()) line += '\n';
    sums.bytes += static_cast<int64_t>(line.size());
    std::istringstream words(line);
    for (std::string word; words >> word;) ++sums.words;
    for (TokenId id : tokenizer.encode(line)) {
      ++sums.tokens;
      sums.byte_tokens += is_byte_piece(tokenizer, id);
    }
  }
  measured = sums;
}

std::string TokenizerReport::text() const {
  std::string out = fmt::format("type          {}\nvocabulary    {}\n", type, size);
  out += fmt::format("specials      {}, {}, {}\n", named("bos", bos), named("eos", eos),
                     named("pad", pad));
  for (const auto& [id, piece] : specials)
    out += fmt::format("  {:>8}    {}\n", id, visible(piece));
  out += fmt::format("bytes         {}\n",
                     byte_fallback ? "every text can be encoded" : "no byte pieces");
  out += fmt::format("texts open    {}\n", adds_bos ? "with bos" : "without bos");
  out += fmt::format("dummy prefix  {}\nhash          {}\n", dummy_prefix ? "yes" : "no", hash);
  std::vector<std::string> shown;
  for (const std::string& piece : longest) shown.push_back(visible(piece));
  out += fmt::format("longest       {}\n", fmt::join(shown, "  "));
  if (measured) {
    const Measure& m = *measured;
    out += fmt::format("{}\n  {} bytes, {} tokens: {:.3f} bytes per token\n", m.file, m.bytes,
                       m.tokens, ratio(m.bytes, m.tokens));
    out +=
        fmt::format("  {} words: {:.3f} tokens per word; {:.2f}% of the tokens are single bytes\n",
                    m.words, ratio(m.tokens, m.words), 100 * ratio(m.byte_tokens, m.tokens));
  }
  return out;
}

std::string TokenizerReport::json() const {
  nlohmann::json out{{"type", type},
                     {"size", size},
                     {"bos", optional_id(bos)},
                     {"eos", optional_id(eos)},
                     {"pad", optional_id(pad)},
                     {"adds_bos", adds_bos},
                     {"dummy_prefix", dummy_prefix},
                     {"byte_fallback", byte_fallback},
                     {"hash", hash},
                     {"longest", longest}};
  out["specials"] = nlohmann::json::object();
  for (const auto& [id, piece] : specials) out["specials"][piece] = id;
  if (measured) {
    const Measure& m = *measured;
    out["file"] = {{"path", m.file},
                   {"bytes", m.bytes},
                   {"tokens", m.tokens},
                   {"words", m.words},
                   {"byte_tokens", m.byte_tokens},
                   {"bytes_per_token", ratio(m.bytes, m.tokens)},
                   {"tokens_per_word", ratio(m.tokens, m.words)}};
  }
  return out.dump();
}

std::string visible(std::string_view piece) {
  std::string out;
  for (char c : piece) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      out += fmt::format("\\x{:02X}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace continuo
