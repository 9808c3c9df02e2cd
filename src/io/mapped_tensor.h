// Tensors over the bytes of a mapped file, which they keep mapped.
#pragma once

#include <cstdint>
#include <memory>

#include <ATen/core/Tensor.h>

#include "core/mapped_file.h"
#include "io/stored_tensor.h"

namespace continuo {

// `begin`: the first element's byte in the file. A copy where that is not aligned for the dtype.
// Where the file is mapped privately, writes are private to the process.
at::Tensor mapped_tensor(const std::shared_ptr<MappedFile>& file, int64_t begin,
                         at::IntArrayRef shape, at::ScalarType dtype);

// The same for a reader that goes through a file once: with the tensor go the pages that it brought
// into memory, and those behind it in the file are asked for. Not to be written to.
at::Tensor passing_tensor(const std::shared_ptr<MappedFile>& file, int64_t begin,
                          at::IntArrayRef shape, at::ScalarType dtype);
// Such tensors of rows of one that lies there as a whole.
StoredTensor::Rows passing_rows(const std::shared_ptr<MappedFile>& file, int64_t begin,
                                std::vector<int64_t> shape, at::ScalarType dtype);

}  // namespace continuo
