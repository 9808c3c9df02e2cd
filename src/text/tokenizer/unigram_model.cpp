#include "text/tokenizer/unigram_model.h"

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "core/utf8.h"

namespace continuo {
namespace {

constexpr double kUnknownPenalty = 10;

size_t total_size(const std::vector<std::string>& symbols) {
  size_t total = 0;
  for (const std::string& symbol : symbols) total += symbol.size();
  return total;
}

}  // namespace

UnigramModel::UnigramModel(UnigramVocabulary vocabulary)
    : vocabulary_(std::move(vocabulary)), trie_(total_size(vocabulary_.symbols)), ends_{-1} {
  double lowest = std::numeric_limits<double>::infinity();
  for (double score : vocabulary_.scores) lowest = std::min(lowest, score);
  unknown_score_ = lowest - kUnknownPenalty;
  for (size_t id = 0; id < vocabulary_.symbols.size(); ++id) {
    const std::string& symbol = vocabulary_.symbols[id];
    if (symbol.empty()) continue;
    TokenId node = 0;
    for (char c : symbol) {
      auto byte = static_cast<uint8_t>(c);
      const PairMap::Value* next = trie_.find(node, byte);
      if (!next) {
        trie_.set(node, byte, {0, static_cast<TokenId>(ends_.size())});
        node = static_cast<TokenId>(ends_.size());
        ends_.push_back(-1);
      } else {
        node = next->merged;
      }
    }
    ends_[static_cast<size_t>(node)] = static_cast<TokenId>(id);
  }
}

std::optional<TokenId> UnigramModel::byte_id(uint8_t byte) const {
  if (vocabulary_.byte_ids.empty() || vocabulary_.byte_ids[byte] < 0) return {};
  return vocabulary_.byte_ids[byte];
}

void UnigramModel::append_unknown(std::string_view text, std::vector<TokenId>& ids) const {
  auto has_byte = [&](char c) { return byte_id(static_cast<uint8_t>(c)).has_value(); };
  if (std::ranges::all_of(text, has_byte)) {
    for (char c : text) ids.push_back(*byte_id(static_cast<uint8_t>(c)));
    return;
  }
  ids.push_back(*vocabulary_.unknown);
}

void UnigramModel::encode(std::string_view word, std::vector<TokenId>& ids) const {
  std::vector<Node> best(word.size() + 1);  // of the ways that end before each byte
  auto offer = [&](size_t begin, size_t end, TokenId id, double score) {
    if (best[end].id < 0 || score > best[end].score) best[end] = {score, begin, id};
  };
  for (size_t at = 0; at < word.size();) {
    size_t length = utf8_step(word.substr(at)).length;
    double so_far = best[at].score;
    bool whole_character = false;
    TokenId node = 0;
    for (size_t end = at; end < word.size();) {
      const PairMap::Value* next = trie_.find(node, static_cast<uint8_t>(word[end]));
      if (!next) break;
      node = next->merged;
      ++end;
      TokenId id = ends_[static_cast<size_t>(node)];
      if (id < 0) continue;
      offer(at, end, id, so_far + vocabulary_.scores[static_cast<size_t>(id)]);
      whole_character = whole_character || end - at == length;
    }
    if (!whole_character) {
      if (!vocabulary_.unknown) {
        fail("the tokenizer has no token for '{}' and no unknown token", word.substr(at, length));
      }
      offer(at, at + length, *vocabulary_.unknown, so_far + unknown_score_);
    }
    at += length;
  }
  // Backwards; a run of unknown characters is taken together.
  std::vector<std::pair<size_t, size_t>> path;
  for (size_t end = word.size(); end > 0;) {
    const Node& node = best[end];
    bool joins = !path.empty() && vocabulary_.unknown && node.id == *vocabulary_.unknown &&
                 best[path.back().second].id == *vocabulary_.unknown;
    if (joins) {
      path.back().first = node.begin;
    } else {
      path.emplace_back(node.begin, end);
    }
    end = node.begin;
  }
  std::ranges::reverse(path);
  for (auto [begin, end] : path) {
    TokenId id = best[end].id;
    if (vocabulary_.unknown && id == *vocabulary_.unknown) {
      append_unknown(word.substr(begin, end - begin), ids);
    } else {
      ids.push_back(id);
    }
  }
}

}  // namespace continuo
