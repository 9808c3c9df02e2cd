#include "cli/token_report.h"

#include <ATen/ops/argmax.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <nlohmann/json.hpp>

#include "io/safetensors.h"
#include "nn/upload.h"

namespace continuo {

using nlohmann::json;

namespace {

std::vector<int64_t> ids_of(const ExampleStore& store, int64_t row) {
  const auto tokens = store[row].tokens;
  return {tokens.begin(), tokens.end()};
}

// The logits of each of a batch's documents in turn, on the host: those of all would not fit.
void each_logits(Decoder& decoder, const Batch& batch,
                 const std::function<void(size_t document, const at::Tensor& logits)>& take) {
  const c10::NoGradGuard no_grad;
  const at::Device device = decoder.device();
  const at::Tensor hidden = decoder.forward(
      {upload(batch.tokens, device), upload(batch.positions, device), batch.boundaries});
  for (size_t d = 0; d < batch.rows.size(); ++d) {
    const int64_t begin = batch.boundaries[d], length = batch.boundaries[d + 1] - begin;
    take(d, decoder.logits(hidden.narrow(0, begin, length)).to(at::kCPU));
  }
}

}  // namespace

TokenReport::TokenReport(Decoder& decoder, const ExampleStore& store, Communicator& ranks,
                         const std::filesystem::path& path)
    : decoder_(decoder), store_(store), ranks_(ranks) {
  if (ranks.is_first()) file_.emplace(path);
}

void TokenReport::add(const Batch* batch, const at::Tensor& nll) {
  const std::string mine = batch ? lines(*batch, nll) : std::string();
  const auto all = ranks_.gather_text(mine, "the others' tokens");
  if (!file_) return;
  for (const std::string& of_rank : all) file_->write(of_rank);
}

std::string TokenReport::lines(const Batch& batch, const at::Tensor& nll) const {
  const at::Tensor host = nll.to(at::kCPU, at::kFloat).contiguous();
  const float* value = host.const_data_ptr<float>();
  const int64_t* target = batch.targets.const_data_ptr<int64_t>();
  std::string text;
  each_logits(decoder_, batch, [&](size_t d, const at::Tensor& logits) {
    const at::Tensor best = logits.argmax(1);
    const int64_t begin = batch.boundaries[d], length = batch.boundaries[d + 1] - begin;
    json positions = json::array(), losses = json::array(), argmax = json::array();
    for (int64_t i = 0; i < length; ++i) {
      if (target[begin + i] == kIgnoredTarget) continue;
      positions.push_back(i + 1);  // where the target itself stands
      losses.push_back(*value++);
      argmax.push_back(best.const_data_ptr<int64_t>()[i]);
    }
    text += json({{"row", store_.where(batch.rows[d])},
                  {"index", batch.rows[d]},
                  {"tokens", ids_of(store_, batch.rows[d])},
                  {"trained", std::move(positions)},
                  {"nll", std::move(losses)},
                  {"argmax", std::move(argmax)}})
                .dump() +
            "\n";
  });
  return text;
}

void TokenReport::commit() {
  if (file_) file_->commit();
}

void write_logits(Decoder& decoder, const ExampleStore& store, const std::filesystem::path& path) {
  constexpr int64_t kRows = 8;
  NamedTensors tensors;
  for (int64_t row = 0; row < std::min(kRows, store.size()); ++row) {
    each_logits(decoder, make_batch(store, {&row, 1}), [&](size_t, const at::Tensor& logits) {
      tensors.emplace_back(fmt::format("{}.ids", row), at::tensor(ids_of(store, row), at::kLong));
      tensors.emplace_back(fmt::format("{}.logits", row), logits);
    });
  }
  write_safetensors(path, tensors);
}

}  // namespace continuo
