#include "nn/executor.h"

#include "nn/backend.h"
#include "nn/transformer.h"

namespace continuo {

std::unique_ptr<Executor> make_executor(const std::shared_ptr<Transformer>& model,
                                        const ExecutorOptions& options) {
  return backend_of(model->device()).make_executor(model, options);
}

void read_from(const Executor& executor, Transformer& model) {
  for (const auto& [place, layer] : model.linear_slots()) layer->stored = executor.matrix(place);
  const std::map<std::string, WeightMatrix*> stored = model.stored_matrices();
  const auto head = stored.find("head");
  *(head != stored.end() ? head->second : stored.at("embedding")) = executor.head_matrix();
}

}  // namespace continuo
