#include "text/tokenizer/pre_tokenizer.h"

#include <algorithm>

#include "text/tokenizer/code_points.h"
#include "text/tokenizer/pattern_field.h"

namespace continuo {
namespace {

// The pattern of GPT-2 (Radford et al. 2019, encoder.py).
constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

void push(std::string_view word, size_t begin, size_t end, PreTokenizer::Words& result) {
  if (begin < end) result.words.push_back(word.substr(begin, end - begin));
}

}  // namespace

PreTokenizer::PreTokenizer(const JsonField& field) {
  for_each_step(field, "pretokenizers",
                [&](const JsonField& step, const std::string& type) { read(step, type); });
}

void PreTokenizer::read(const JsonField& step, const std::string& type) {
  if (byte_level_) {
    step.at("type").fail(fmt::format("'{}' comes behind ByteLevel, which is not supported", type));
  }
  auto note = [&](const auto& value) { description_ += fmt::format("|{}", value); };
  note(type);
  if (type == "ByteLevel") {
    byte_level_ = true;
    ByteLevel made{.prefix = step.boolean("add_prefix_space", true), .pattern = {}};
    if (step.boolean("use_regex", true)) made.pattern.emplace(kGpt2);
    adds_prefix_ = adds_prefix_ || made.prefix;
    note(made.prefix);
    note(made.pattern.has_value());
    steps_.push_back(std::move(made));
  } else if (type == "Digits") {
    bool individual = step.boolean("individual_digits", false);
    note(individual);
    steps_.push_back(Digits{individual});
  } else if (type == "Split") {
    static const std::vector<std::pair<std::string_view, Behavior>> kBehaviors = {
        {"Removed", Behavior::kRemoved},
        {"Isolated", Behavior::kIsolated},
        {"MergedWithPrevious", Behavior::kMergedWithPrevious},
        {"MergedWithNext", Behavior::kMergedWithNext},
        {"Contiguous", Behavior::kContiguous}};
    JsonField name = step.at("behavior");
    auto known = std::ranges::find(kBehaviors, std::string_view(name.string()),
                                   &std::pair<std::string_view, Behavior>::first);
    if (known == kBehaviors.end()) name.fail(fmt::format("'{}' is not known", name.string()));
    Split made{read_pattern(step.at("pattern")), known->second, step.boolean("invert", false)};
    note(made.pattern.pattern().size());
    note(made.pattern.pattern());
    note(name.string());
    note(made.invert);
    steps_.push_back(std::move(made));
  } else if (type == "Metaspace") {
    const std::string sign = step.at("replacement").string();
    if (sign.empty() || first_code_point(sign).length != sign.size()) {
      step.at("replacement").fail("must be one character");
    }
    std::string scheme = step.string("prepend_scheme", "always");
    if (!step.boolean("add_prefix_space", true)) scheme = "never";
    Prefix prefix = scheme == "never"   ? Prefix::kNever
                    : scheme == "first" ? Prefix::kFirst
                                        : Prefix::kAlways;
    if (prefix == Prefix::kAlways && scheme != "always") {
      step.at("prepend_scheme").fail(fmt::format("'{}' is not known", scheme));
    }
    Metaspace made{sign, prefix, step.boolean("split", true)};
    space_sign_ = sign;
    adds_prefix_ = adds_prefix_ || prefix != Prefix::kNever;
    note(sign);
    note(scheme);
    note(made.split);
    steps_.push_back(std::move(made));
  } else {
    step.at("type").fail(fmt::format("'{}' is not a pre-tokenizer that is supported", type),
                         "supported are ByteLevel, Digits, Metaspace, Split, Sequence");
  }
}

void PreTokenizer::split(std::string_view text, Place place, Words& result) const {
  result.owned.clear();
  result.words.clear();
  if (text.empty()) return;
  result.words.push_back(text);
  for (const auto& step : steps_) {
    result.scratch.swap(result.words);
    result.words.clear();
    for (size_t i = 0; i < result.scratch.size(); ++i) {
      Place here{place.opening, place.first && i == 0};
      std::visit([&](const auto& s) { apply(s, result.scratch[i], here, result); }, step);
    }
  }
}

std::vector<PreTokenizer::Piece> PreTokenizer::pieces_of(const Regex& pattern,
                                                         std::string_view word) {
  std::vector<Piece> pieces;
  size_t end = 0;
  RegexMatches matches(pattern, word);
  while (auto match = matches.next()) {
    if (end < match->begin) pieces.push_back({end, match->begin, false});
    pieces.push_back({match->begin, match->end, true});
    end = match->end;
  }
  if (end < word.size()) pieces.push_back({end, word.size(), false});
  return pieces;
}

void PreTokenizer::emit(std::string_view word, const std::vector<Piece>& pieces, Behavior behavior,
                        Words& result) {
  // Bounds of the words; a piece that joins its neighbour moves a bound instead of adding one.
  std::vector<std::pair<size_t, size_t>> bounds;
  bool matched = false;
  auto add = [&](const Piece& piece, bool joins) {
    if (joins && !bounds.empty()) {
      bounds.back().first = std::min(bounds.back().first, piece.begin);
      bounds.back().second = std::max(bounds.back().second, piece.end);
    } else {
      bounds.emplace_back(piece.begin, piece.end);
    }
    matched = piece.match;
  };
  if (behavior == Behavior::kMergedWithNext) {
    for (size_t i = pieces.size(); i-- > 0;) add(pieces[i], pieces[i].match && !matched);
    std::ranges::reverse(bounds);
  } else {
    for (const Piece& piece : pieces) {
      if (behavior == Behavior::kRemoved && piece.match) continue;
      add(piece, behavior == Behavior::kMergedWithPrevious ? piece.match && !matched
                 : behavior == Behavior::kContiguous       ? piece.match == matched
                                                           : false);
    }
  }
  for (auto [begin, end] : bounds) push(word, begin, end, result);
}

void PreTokenizer::apply(const Split& step, std::string_view word, Place, Words& result) const {
  if (step.behavior != Behavior::kIsolated) {
    std::vector<Piece> pieces = pieces_of(step.pattern, word);
    if (step.invert) {
      for (Piece& piece : pieces) piece.match = !piece.match;
    }
    emit(word, pieces, step.behavior, result);
    return;
  }
  size_t end = 0;
  RegexMatches matches(step.pattern, word);
  while (auto match = matches.next()) {
    push(word, end, match->begin, result);
    push(word, match->begin, match->end, result);
    end = match->end;
  }
  push(word, end, word.size(), result);
}

void PreTokenizer::apply(const Digits& step, std::string_view word, Place, Words& result) const {
  size_t begin = 0;
  bool in_number = false;
  for (size_t at = 0; at < word.size();) {
    CodePoint point = first_code_point(word.substr(at));
    bool digit = is_numeric(point.value);
    if (digit != in_number || (digit && step.individual)) {
      push(word, begin, at, result);
      begin = at;
    }
    in_number = digit;
    at += point.length;
  }
  push(word, begin, word.size(), result);
}

void PreTokenizer::apply(const Metaspace& step, std::string_view word, Place place,
                         Words& result) const {
  std::string& text = result.owned.emplace_back();
  bool prefix = place.opening &&
                (step.prefix == Prefix::kAlways || (step.prefix == Prefix::kFirst && place.first));
  if (prefix && !word.starts_with(' ') && !word.starts_with(step.sign)) text = step.sign;
  for (char c : word) {
    if (c == ' ') {
      text += step.sign;
    } else {
      text += c;
    }
  }
  if (!step.split) {
    push(text, 0, text.size(), result);
    return;
  }
  // Every sign starts a word; one that follows another stands alone before it.
  size_t begin = 0;
  for (size_t at = text.find(step.sign); at != std::string::npos;
       at = text.find(step.sign, at + step.sign.size())) {
    push(text, begin, at, result);
    begin = at;
  }
  push(text, begin, text.size(), result);
}

void PreTokenizer::apply(const ByteLevel& step, std::string_view word, Place place,
                         Words& result) const {
  if (step.prefix && place.opening && !word.starts_with(' ')) {
    word = result.owned.emplace_back(" " + std::string(word));
  }
  if (!step.pattern) {
    push(word, 0, word.size(), result);
    return;
  }
  size_t end = 0;
  RegexMatches matches(*step.pattern, word);
  while (auto match = matches.next()) {
    push(word, end, match->begin, result);
    push(word, match->begin, match->end, result);
    end = match->end;
  }
  push(word, end, word.size(), result);
}

}  // namespace continuo
