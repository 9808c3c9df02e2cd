#include "bench/random_step.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include <ATen/ops/randint.h>

namespace continuo {

TrainingStep random_step(std::span<const RowLength> rows, int64_t vocabulary,
                         int64_t micro_tokens) {
  TrainingStep step;
  std::vector<std::vector<TokenId>> ids;
  std::vector<std::vector<uint8_t>> masks;
  int64_t tokens = 0;
  const auto flush = [&] {
    if (ids.empty()) return;
    std::vector<ExampleView> views;
    for (size_t i = 0; i < ids.size(); ++i) views.push_back({ids[i], masks[i]});
    std::vector<int64_t> numbers(ids.size());
    std::iota(numbers.begin(), numbers.end(), 0);
    step.add(make_batch(views, numbers));
    ids.clear();
    masks.clear();
    tokens = 0;
  };
  for (const RowLength& l : rows) {
    const int64_t n = l.prompt + l.completion;
    if (tokens + n - 1 > micro_tokens) flush();
    const at::Tensor random = at::randint(vocabulary, {n}, at::TensorOptions(at::kInt));
    ids.emplace_back(random.const_data_ptr<int>(), random.const_data_ptr<int>() + n);
    masks.emplace_back(n, uint8_t{1});
    std::fill_n(masks.back().begin(), l.prompt, uint8_t{0});
    tokens += n - 1;
  }
  flush();
  return step;
}

}  // namespace continuo
