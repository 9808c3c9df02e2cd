#include "io/mapped_tensor.h"

#include <cstring>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/util/accumulate.h>

namespace continuo {

namespace {

template <class Drop>
at::Tensor tensor_over(const std::shared_ptr<MappedFile>& file, int64_t begin,
                       at::IntArrayRef shape, at::ScalarType dtype, const Drop& drop) {
  std::byte* const first = file->mutable_data() + begin;
  const auto width = static_cast<int64_t>(c10::elementSize(dtype));
  const int64_t bytes = c10::multiply_integers(shape) * width;
  if (bytes == 0 || reinterpret_cast<uintptr_t>(first) % width != 0) {
    at::Tensor copy = at::empty(shape, dtype);
    if (bytes != 0) std::memcpy(copy.data_ptr(), first, static_cast<size_t>(bytes));
    drop(bytes);
    return copy;
  }
  // The deleter owns a share of the mapping: tensors outlive the file object.
  return at::from_blob(
      first, shape, [file, bytes, drop](void*) { drop(bytes); }, at::TensorOptions().dtype(dtype));
}

}  // namespace

at::Tensor mapped_tensor(const std::shared_ptr<MappedFile>& file, int64_t begin,
                         at::IntArrayRef shape, at::ScalarType dtype) {
  return tensor_over(file, begin, shape, dtype, [](int64_t) {});
}

at::Tensor passing_tensor(const std::shared_ptr<MappedFile>& file, int64_t begin,
                          at::IntArrayRef shape, at::ScalarType dtype) {
  const auto drop = [file, begin](int64_t bytes) {
    file->release(static_cast<size_t>(begin), static_cast<size_t>(bytes));
  };
  at::Tensor tensor = tensor_over(file, begin, shape, dtype, drop);
  const size_t bytes = tensor.nbytes();
  file->prefetch(static_cast<size_t>(begin) + bytes, bytes);
  return tensor;
}

StoredTensor::Rows passing_rows(const std::shared_ptr<MappedFile>& file, int64_t begin,
                                std::vector<int64_t> shape, at::ScalarType dtype) {
  auto stride = static_cast<int64_t>(c10::elementSize(dtype));
  for (size_t i = 1; i < shape.size(); ++i) stride *= shape[i];
  return [=, shape = std::move(shape)](int64_t first, int64_t last) {
    std::vector<int64_t> part = shape;
    part[0] = last - first;
    return passing_tensor(file, begin + first * stride, part, dtype);
  };
}

}  // namespace continuo
