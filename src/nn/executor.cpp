#include "nn/executor.h"

#include "nn/backend.h"
#include "nn/transformer.h"

namespace continuo {

std::unique_ptr<Executor> make_executor(const std::shared_ptr<Transformer>& model,
                                        const ExecutorOptions& options) {
  return backend_of(model->device()).make_executor(model, options);
}

void read_from(const Executor& executor, Transformer& model) {
  const auto read = [](const WeightMatrix& matrix, WeightMatrix& stored) {
    if (!matrix.in_memory().defined()) stored = matrix;  // else it is the model's own
  };
  for (const auto& [place, layer] : model.linear_slots())
    read(executor.matrix(place), layer->stored);
  const std::map<std::string, WeightMatrix*> stored = model.stored_matrices();
  const auto head = stored.find("head");
  read(executor.head_matrix(), *(head != stored.end() ? head->second : stored.at("embedding")));
}

}  // namespace continuo
