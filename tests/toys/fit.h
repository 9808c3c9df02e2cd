// Some steps of training on a few documents, for models that no family builds.
#pragma once

#include <algorithm>
#include <vector>

#include "nn/transformer.h"
#include "support/named_parameters.h"
#include "support/threads.h"
#include "train/optimizer.h"
#include "train/sft.h"
#include "train/step.h"

namespace continuo::test {

// All documents make one step, `rows` of them a micro-batch; everything but a document's first
// token is trained. → the loss before every step.
inline std::vector<double> fit(Transformer& model,
                               const std::vector<std::vector<TokenId>>& documents, int64_t steps,
                               size_t rows = 2) {
  const Threads one(1);  // steps this small are faster so, and do not mind their neighbours
  std::vector<std::vector<uint8_t>> masks;
  for (const auto& ids : documents) masks.emplace_back(ids.size(), uint8_t{1})[0] = 0;
  LocalGradients gradients(named_parameters(model));
  AdamW optimizer(gradients, {.weight_decay = 0});
  SftObjective objective;
  std::vector<double> losses;
  for (int64_t i = 0; i < steps; ++i) {
    TrainingStep step;
    for (size_t begin = 0; begin < documents.size(); begin += rows) {
      std::vector<ExampleView> views;
      std::vector<int64_t> names;
      for (size_t d = begin; d < std::min(documents.size(), begin + rows); ++d) {
        views.push_back({documents[d], masks[d]});
        names.push_back(static_cast<int64_t>(d));
      }
      step.add(make_batch(views, names));
    }
    const StepResult result =
        accumulate(step, objective, {.decoder = model, .gradients = gradients, .number = i});
    optimizer.step(3e-3, result.gradient_norm);
    losses.push_back(result.loss);
  }
  return losses;
}

}  // namespace continuo::test
