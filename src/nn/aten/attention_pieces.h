// Documents cut in blocks of queries. With a window the blocks are of its size, so that the cost is
// n · window.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace continuo::aten {

// A run of a document's queries and the keys that they see between them; offsets from the
// document's first query and key.
struct Piece {
  int64_t query_begin, query_end;
  int64_t key_begin, key_end;
};

// Of n queries behind `past` keys, in blocks of at most `longest` queries.
std::vector<Piece> pieces_of(int64_t past, int64_t n, int64_t window, int64_t longest);

// −inf where a query of the piece must not see a key, 0 elsewhere: [queries, keys] float32.
at::Tensor mask_of(const Piece& piece, int64_t past, int64_t window, at::Device device);

}  // namespace continuo::aten
