#include "nn/product_weight.h"

#include "nn/backend.h"

namespace continuo {

int64_t ProductWeight::out() const {
  if (in_memory()) return cast_.size(0);
  return quantised_.defined() ? quantised_.out : stored_.out();
}

at::Tensor ProductWeight::rows(int64_t begin, int64_t end, at::ScalarType dtype) const {
  if (in_memory()) return cast_.narrow(0, begin, end - begin);
  if (quantised_.defined()) {
    return backend_of(quantised_.panels)
        .quantised.values(quantised_, dtype)
        .narrow(0, begin, end - begin);
  }
  return stored_.rows(begin, end).to(device_, dtype).contiguous();
}

at::Tensor ProductWeight::product(const at::Tensor& x) const {
  const Backend& backend = backend_of(x);
  return quantised_.defined() ? backend.quantised.product(x, quantised_)
                              : backend.products.nt(x, values(x.scalar_type()));
}

}  // namespace continuo
