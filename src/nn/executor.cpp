#include "nn/executor.h"

#include "nn/backend.h"
#include "nn/transformer.h"

namespace continuo {

std::unique_ptr<Executor> make_executor(const std::shared_ptr<Transformer>& model,
                                        const ExecutorOptions& options) {
  return backend_of(model->device()).make_executor(model, options);
}

}  // namespace continuo
