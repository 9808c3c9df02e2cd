#include "train/storage_memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/DeviceGuard.h>

namespace continuo {

void drop_memory(const at::Tensor& tensor) {
  c10::StorageImpl* storage = tensor.storage().unsafeGetStorageImpl();
  storage->set_data_ptr_noswap(at::DataPtr(nullptr, tensor.device()));
  storage->set_nbytes(0);
}

void take_memory(const at::Tensor& tensor) {
  const c10::DeviceGuard guard(tensor.device());
  c10::StorageImpl* storage = tensor.storage().unsafeGetStorageImpl();
  storage->set_data_ptr_noswap(
      c10::GetAllocator(tensor.device().type())->allocate(tensor.nbytes()));
  storage->set_nbytes(tensor.nbytes());
}

}  // namespace continuo
