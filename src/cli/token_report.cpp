#include "cli/token_report.h"

#include <ATen/ops/argmax.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <nlohmann/json.hpp>

#include "nn/upload.h"

namespace continuo {

using nlohmann::json;

TokenReport::TokenReport(Decoder& decoder, const ExampleStore& store,
                         const std::filesystem::path& tokens, const std::filesystem::path& logits)
    : decoder_(decoder), store_(store), logits_path_(logits) {
  if (!tokens.empty()) tokens_.emplace(tokens);
}

void TokenReport::add(const Batch& batch, const at::Tensor& nll) {
  const c10::NoGradGuard no_grad;
  constexpr size_t kLogitRows = 8;
  const at::Device device = decoder_.device();
  const at::Tensor hidden = decoder_.forward(
      {upload(batch.tokens, device), upload(batch.positions, device), batch.boundaries});
  const at::Tensor host = nll.to(at::kCPU, at::kFloat).contiguous();
  const float* value = host.const_data_ptr<float>();
  const int64_t* target = batch.targets.const_data_ptr<int64_t>();
  for (size_t d = 0; d < batch.rows.size(); ++d) {
    const int64_t begin = batch.boundaries[d], length = batch.boundaries[d + 1] - begin;
    // One document at a time: logits of a whole batch would not fit.
    const at::Tensor logits = decoder_.logits(hidden.narrow(0, begin, length)).to(at::kCPU);
    const at::Tensor best = logits.argmax(1);
    const auto tokens = store_[batch.rows[d]].tokens;
    const std::vector<int64_t> ids(tokens.begin(), tokens.end());
    if (!logits_path_.empty() && logits_.size() < 2 * kLogitRows) {
      logits_.emplace_back(fmt::format("{}.ids", batch.rows[d]), at::tensor(ids, at::kLong));
      logits_.emplace_back(fmt::format("{}.logits", batch.rows[d]), logits);
    }
    json positions = json::array(), losses = json::array(), argmax = json::array();
    for (int64_t i = 0; i < length; ++i) {
      if (target[begin + i] == kIgnoredTarget) continue;
      positions.push_back(i + 1);  // where the target itself stands
      losses.push_back(*value++);
      argmax.push_back(best.const_data_ptr<int64_t>()[i]);
    }
    if (!tokens_) continue;
    tokens_->write(json({{"row", store_.where(batch.rows[d])},
                         {"index", batch.rows[d]},
                         {"tokens", ids},
                         {"trained", std::move(positions)},
                         {"nll", std::move(losses)},
                         {"argmax", std::move(argmax)}})
                       .dump() +
                   "\n");
  }
}

void TokenReport::commit() {
  if (tokens_) tokens_->commit();
  if (!logits_path_.empty()) write_safetensors(logits_path_, logits_);
}

}  // namespace continuo
