// The merges that a SentencePiece vocabulary with scores stands for.
#pragma once

#include <string>
#include <vector>

#include "text/tokenizer/bpe_model.h"
#include "text/tokenizer/flat_maps.h"

namespace continuo {

// Every way to cut a piece in two is tried.
inline constexpr size_t kLongestPiece = 1024;

// SentencePiece joins the two neighbours whose union scores highest. As ranked merges: every way to
// cut a piece in two pieces, pieces of higher score first. `joined`: by id, which pieces are joined
// and are joined to others. `index`: of the pieces, none of which is longer than kLongestPiece.
std::vector<BpeVocabulary::Merge> merges_of_scores(const std::vector<std::string>& pieces,
                                                   const std::vector<float>& scores,
                                                   const std::vector<bool>& joined,
                                                   const StringIndex& index);

}  // namespace continuo
