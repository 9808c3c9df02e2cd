#include "io/stored_tensor.h"

#include <memory>

namespace continuo {

StoredTensor::Rows rows_of_whole(std::function<at::Tensor()> make, int64_t size) {
  return [make = std::move(make), size, made = std::make_shared<at::Tensor>()](int64_t begin,
                                                                               int64_t end) {
    if (!made->defined()) *made = make();
    const at::Tensor rows = made->narrow(0, begin, end - begin);
    if (end == size) *made = at::Tensor();
    return rows;
  };
}

}  // namespace continuo
