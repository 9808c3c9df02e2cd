#include "text/tokenizer/bpe_model.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>
#include <queue>

#include "core/utf8.h"
#include "text/tokenizer/word_cache.h"

namespace continuo {
namespace {

constexpr uint32_t kNoRank = std::numeric_limits<uint32_t>::max();
// Up to here looking at every pair again costs less than a queue of them.
constexpr size_t kFew = 40;

std::atomic<uint32_t> model_count = 0;

}  // namespace

BpeModel::BpeModel(BpeVocabulary vocabulary)
    : vocabulary_(std::move(vocabulary)),
      merges_(vocabulary_.merges.size()),
      number_(++model_count) {
  const auto& symbols = vocabulary_.symbols;
  single_.fill(-1);
  for (size_t i = 0; i < symbols.size(); ++i) {
    auto id = static_cast<TokenId>(i);
    if (symbols[i].empty()) continue;
    if (is_looked_up(symbols[i])) {
      looked_up_.push_back(symbols[i]);
      looked_up_ids_.push_back(id);
    }
    auto first = static_cast<uint8_t>(symbols[i][0]);
    bool whole = vocabulary_.byte_symbols || first < 0x80;
    if (symbols[i].size() == 1 && whole && single_[first] < 0) single_[first] = id;
  }
  index_ = StringIndex(looked_up_.size());
  for (size_t i = 0; i < looked_up_.size(); ++i) index_.insert(looked_up_, static_cast<int32_t>(i));
  for (size_t rank = 0; rank < vocabulary_.merges.size(); ++rank) {
    const auto& merge = vocabulary_.merges[rank];
    merges_.set(merge.left, merge.right, {static_cast<uint32_t>(rank), merge.merged});
  }
  const std::string& sign = vocabulary_.space_sign;
  cut_at_sign_ = !sign.empty() && !vocabulary_.byte_symbols && !vocabulary_.ignore_merges &&
                 look_up(sign) && !merges_cross_sign();
  vocabulary_.merges = {};
  vocabulary_.symbols = {};
}

// Words begin as bytes or as characters; only where a whole word may be a token are others asked
// for.
bool BpeModel::is_looked_up(const std::string& symbol) const {
  if (vocabulary_.ignore_merges) return true;
  if (vocabulary_.byte_symbols) return false;
  return symbol == vocabulary_.space_sign || utf8_step(symbol).length == symbol.size();
}

// Whether some merge joins a symbol that does not end with the sign to one that starts with it.
bool BpeModel::merges_cross_sign() const {
  const std::string& sign = vocabulary_.space_sign;
  auto crosses = [&](const BpeVocabulary::Merge& merge) {
    const auto& left = vocabulary_.symbols[static_cast<size_t>(merge.left)];
    const auto& right = vocabulary_.symbols[static_cast<size_t>(merge.right)];
    return right.starts_with(sign) && !left.ends_with(sign);
  };
  return std::ranges::any_of(vocabulary_.merges, crosses);
}

std::optional<TokenId> BpeModel::look_up(std::string_view symbol) const {
  const auto found = index_.find(looked_up_, symbol);
  if (!found) return {};
  return looked_up_ids_[static_cast<size_t>(*found)];
}

std::optional<TokenId> BpeModel::byte_id(uint8_t byte) const {
  TokenId id = -1;
  if (vocabulary_.byte_symbols) {
    id = single_[byte];
  } else if (!vocabulary_.byte_ids.empty()) {
    id = vocabulary_.byte_ids[byte];
  }
  if (id < 0) return {};
  return id;
}

void BpeModel::encode(std::string_view word, std::vector<TokenId>& ids) const {
  if (!cut_at_sign_) {
    encode_part(word, ids);
    return;
  }
  std::string_view sign = vocabulary_.space_sign;
  size_t begin = 0;
  for (size_t at = word.find(sign); at != std::string_view::npos; at = word.find(sign, at)) {
    if (at > begin) encode_part(word.substr(begin, at - begin), ids);
    begin = at;
    do at += sign.size();
    while (word.substr(at).starts_with(sign));
  }
  if (begin < word.size()) encode_part(word.substr(begin), ids);
}

void BpeModel::encode_part(std::string_view word, std::vector<TokenId>& ids) const {
  if (word.size() == 1 && single_[static_cast<uint8_t>(word[0])] >= 0) {
    ids.push_back(single_[static_cast<uint8_t>(word[0])]);
    return;
  }
  WordCache::Slot* slot = nullptr;
  if (word.size() <= WordCache::kMaxBytes) {
    slot = &WordCache::of_this_thread().slot(number_, word);
    if (slot->holds(number_, word)) {
      auto known = slot->result();
      ids.insert(ids.end(), known.begin(), known.end());
      return;
    }
  }
  size_t begin = ids.size();
  std::optional<TokenId> whole;
  if (vocabulary_.ignore_merges) whole = look_up(word);
  if (whole) {
    ids.push_back(*whole);
  } else {
    append_symbols(word, ids);
    merge(ids, begin);
  }
  if (slot && ids.size() - begin <= WordCache::kMaxIds) {
    slot->store(number_, word, std::span(ids).subspan(begin));
  }
}

void BpeModel::append_symbols(std::string_view word, std::vector<TokenId>& ids) const {
  bool after_unknown = false;
  auto push_unknown = [&] {
    if (!vocabulary_.unknown) return;
    if (!after_unknown || !vocabulary_.fuse_unknown) ids.push_back(*vocabulary_.unknown);
    after_unknown = true;
  };
  for (size_t at = 0; at < word.size();) {
    auto byte = static_cast<uint8_t>(word[at]);
    size_t length = 1;
    TokenId id = -1;
    if (vocabulary_.byte_symbols || byte < 0x80) {
      id = single_[byte];
    } else {
      length = utf8_step(word.substr(at)).length;
      if (auto found = look_up(word.substr(at, length))) id = *found;
    }
    std::string_view symbol = word.substr(at, length);
    at += length;
    if (id >= 0) {
      ids.push_back(id);
      after_unknown = false;
      continue;
    }
    auto has_byte = [&](char c) { return byte_id(static_cast<uint8_t>(c)).has_value(); };
    if (!vocabulary_.byte_symbols && std::ranges::all_of(symbol, has_byte)) {
      for (char c : symbol) ids.push_back(*byte_id(static_cast<uint8_t>(c)));
      after_unknown = false;
    } else {
      push_unknown();
    }
  }
}

void BpeModel::merge(std::vector<TokenId>& ids, size_t begin) const {
  size_t count = ids.size() - begin;
  if (count < 2) return;
  count <= kFew ? merge_few(ids, begin) : merge_many(ids, begin);
}

void BpeModel::merge_few(std::vector<TokenId>& ids, size_t begin) const {
  size_t count = ids.size() - begin;
  std::array<PairMap::Value, kFew> pairs;  // of each symbol with the next one
  TokenId* symbols = ids.data() + begin;
  auto look = [&](size_t i) {
    const PairMap::Value* found = merges_.find(symbols[i], symbols[i + 1]);
    pairs[i] = found ? *found : PairMap::Value{kNoRank, 0};
  };
  for (size_t i = 0; i + 1 < count; ++i) look(i);
  pairs[count - 1] = {kNoRank, 0};
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (pairs[i].rank < pairs[best].rank) best = i;
    }
    if (pairs[best].rank == kNoRank) break;
    symbols[best] = pairs[best].merged;
    std::copy(symbols + best + 2, symbols + count, symbols + best + 1);
    std::copy(pairs.data() + best + 2, pairs.data() + count, pairs.data() + best + 1);
    --count;
    if (best > 0) look(best - 1);
    if (best + 1 < count) look(best);
  }
  ids.resize(begin + count);
}

void BpeModel::merge_many(std::vector<TokenId>& ids, size_t begin) const {
  struct Node {
    TokenId id;
    uint32_t previous, next;  // positions; `count` stands for none
    PairMap::Value pair;      // with the next one
  };
  auto count = static_cast<uint32_t>(ids.size() - begin);
  std::vector<Node> nodes(count);
  std::vector<uint64_t> pending;  // rank and position, the smallest first
  auto look = [&](uint32_t at) {
    Node& node = nodes[at];
    const PairMap::Value* found =
        node.next < count ? merges_.find(node.id, nodes[node.next].id) : nullptr;
    node.pair = found ? *found : PairMap::Value{kNoRank, 0};
    return found != nullptr;
  };
  auto entry = [&](uint32_t at) { return uint64_t{nodes[at].pair.rank} << 32 | at; };
  for (uint32_t i = 0; i < count; ++i) {
    nodes[i] = {ids[begin + i], i == 0 ? count : i - 1, i + 1, {kNoRank, 0}};
  }
  for (uint32_t i = 0; i < count; ++i) {
    if (look(i)) pending.push_back(entry(i));
  }
  std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> queue(std::greater<>{},
                                                                             std::move(pending));
  while (!queue.empty()) {
    auto at = static_cast<uint32_t>(queue.top());
    bool current = nodes[at].pair.rank == queue.top() >> 32;
    queue.pop();
    if (!current) continue;
    Node& node = nodes[at];
    uint32_t gone = node.next;
    node.id = node.pair.merged;
    node.next = nodes[gone].next;
    nodes[gone].pair.rank = kNoRank;
    if (node.next < count) nodes[node.next].previous = at;
    if (look(at)) queue.push(entry(at));
    if (node.previous < count && look(node.previous)) queue.push(entry(node.previous));
  }
  size_t out = begin;
  for (uint32_t at = 0; at < count; at = nodes[at].next) ids[out++] = nodes[at].id;
  ids.resize(out);
}

}  // namespace continuo
