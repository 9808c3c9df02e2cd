#include "comm/communicator.h"

#include <algorithm>

namespace continuo {

namespace {

class SoloCommunicator : public Communicator {
 public:
  int64_t rank() const override { return 0; }
  int64_t size() const override { return 1; }
  void enter(std::string) override {}
  Pending reduce_scatter(const at::Tensor& part, const at::Tensor& whole,
                         std::string_view) override {
    if (!part.is_alias_of(whole)) part.copy_(whole);
    return {};
  }
  Pending all_gather(const at::Tensor& whole, const at::Tensor& part, std::string_view) override {
    if (!part.is_alias_of(whole)) whole.copy_(part);
    return {};
  }
  bool connect_gpus(at::Device) override { return false; }
  std::vector<double> gather(std::span<const double> mine, std::string_view) override {
    return {mine.begin(), mine.end()};
  }
  std::vector<std::string> gather_text(std::string_view mine, std::string_view) override {
    return {std::string(mine)};
  }
  void stop(std::string_view) noexcept override {}
};

}  // namespace

std::string Communicator::gather_names(std::string_view mine, std::string_view what) {
  std::string names;
  for (const std::string& some : gather_text(mine, what)) {
    if (!some.empty()) names += (names.empty() ? "" : ", ") + some;
  }
  return names;
}

bool Communicator::any(bool mine, std::string_view what) {
  const double value = mine ? 1 : 0;
  return std::ranges::any_of(gather({&value, 1}, what), [](double v) { return v != 0; });
}

std::unique_ptr<Communicator> solo_communicator() { return std::make_unique<SoloCommunicator>(); }

}  // namespace continuo
