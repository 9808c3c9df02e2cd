#include "text/tokenizer/score_merges.h"

#include <algorithm>
#include <array>
#include <functional>

#include "core/in_parts.h"

namespace continuo {

namespace {

// Fewer are looked through before a thread has begun.
constexpr size_t kPiecesOfAPart = 4096;

// Hashes of all parts of a piece, each in a few steps: Σ (byte + 1) · factor^(bytes behind it in
// the part).
class PartHashes {
 public:
  PartHashes() {
    powers_[0] = 1;
    for (size_t i = 1; i <= kLongestPiece; ++i) powers_[i] = powers_[i - 1] * kFactor;
  }

  void read(std::string_view piece) {
    for (size_t i = 0; i < piece.size(); ++i)
      prefixes_[i + 1] = prefixes_[i] * kFactor + static_cast<uint8_t>(piece[i]) + 1;
  }
  uint64_t part(size_t begin, size_t end) const {
    return prefixes_[end] - prefixes_[begin] * powers_[end - begin];
  }

 private:
  static constexpr uint64_t kFactor = 0x9E3779B97F4A7C15;

  std::array<uint64_t, kLongestPiece + 1> powers_, prefixes_ = {};
};

// Says of most words that are not in a set that they are not, without a look at far memory.
class WordFilter {
 public:
  void add(uint64_t hash) { bits_[place(hash)] = true; }
  bool may_have(uint64_t hash) const { return bits_[place(hash)]; }

 private:
  static constexpr int kBits = 22;

  // The upper bits: the last bytes alone would say what the lower ones are.
  static size_t place(uint64_t hash) { return (hash * 0xD6E8FEB86659FD93) >> (64 - kBits); }
  std::vector<bool> bits_ = std::vector<bool>(size_t{1} << kBits);
};

}  // namespace

std::vector<BpeVocabulary::Merge> merges_of_scores(const std::vector<std::string>& pieces,
                                                   const std::vector<float>& scores,
                                                   const std::vector<bool>& joined,
                                                   const StringIndex& index) {
  std::vector<size_t> ranked;
  WordFilter known;
  PartHashes hashes;
  for (size_t id = 0; id < pieces.size(); ++id) {
    if (!joined[id]) continue;
    ranked.push_back(id);
    hashes.read(pieces[id]);
    known.add(hashes.part(0, pieces[id].size()));
  }
  std::ranges::stable_sort(ranked, std::greater<>{}, [&](size_t id) { return scores[id]; });
  const auto add_merges = [&](size_t id, PartHashes& of_piece,
                              std::vector<BpeVocabulary::Merge>& merges) {
    const std::string_view piece = pieces[id];
    of_piece.read(piece);
    for (size_t cut = 1; cut < piece.size(); ++cut) {
      if (!known.may_have(of_piece.part(0, cut)) ||
          !known.may_have(of_piece.part(cut, piece.size())))
        continue;
      const auto first = index.find(pieces, piece.substr(0, cut)),
                 second = index.find(pieces, piece.substr(cut));
      if (first && second && joined[*first] && joined[*second])
        merges.push_back({*first, *second, static_cast<TokenId>(id)});
    }
  };
  std::vector<std::vector<BpeVocabulary::Merge>> parts(count_parts(ranked.size(), kPiecesOfAPart));
  in_parts(ranked.size(), kPiecesOfAPart, [&](size_t part, size_t begin, size_t end) {
    PartHashes of_piece;
    for (size_t i = begin; i < end; ++i) add_merges(ranked[i], of_piece, parts[part]);
  });
  std::vector<BpeVocabulary::Merge> merges = std::move(parts[0]);
  for (size_t part = 1; part < parts.size(); ++part)
    merges.insert(merges.end(), parts[part].begin(), parts[part].end());
  return merges;
}

}  // namespace continuo
