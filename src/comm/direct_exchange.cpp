#include "comm/direct_exchange.h"

#include <utility>
#include <vector>

#include <ATen/ops/empty_like.h>

#include "comm/ordered_sum.h"

namespace continuo {

DirectExchange::DirectExchange(c10::intrusive_ptr<c10d::Backend> backend, ConnectionWatch& watch,
                               std::chrono::seconds timeout)
    : backend_(std::move(backend)), watch_(watch), timeout_(timeout) {}

// What is still on its way nobody will read. A shutdown would wait for the others.
DirectExchange::~DirectExchange() { backend_->abort(); }

// Pieces go to their ranks as they are: as many bytes as a ring's, and the sum is ours to order.
Pending DirectExchange::reduce_scatter(const at::Tensor& part, const at::Tensor& whole) {
  at::Tensor leaving = whole, arriving = at::empty_like(whole);
  std::vector<int64_t> equal_pieces;
  const ConnectionWatch::Work work =
      backend_->alltoall_base(arriving, leaving, equal_pieces, equal_pieces);
  return Pending([this, part, arriving, leaving, work] {
    watch_.wait_on_host(work, timeout_);
    ordered_sum(part, arriving.view({backend_->getSize(), -1}).unbind());
  });
}

Pending DirectExchange::all_gather(const at::Tensor& whole, const at::Tensor& part) {
  at::Tensor arriving = whole, leaving = part;
  const ConnectionWatch::Work work = backend_->_allgather_base(arriving, leaving);
  return Pending([this, arriving, leaving, work] { watch_.wait_on_host(work, timeout_); });
}

}  // namespace continuo
