// On a GPU the host runs ahead of the device, until it asks for a value: once a step, at its end.
// Here every question of LibTorch's that would wait there is seen on the CPU.
#include <string>
#include <vector>

#include <ATen/record_function.h>
#include <gtest/gtest.h>

#include "nn/cuda/backend.h"
#include "support/training.h"

namespace continuo {
namespace {

// The questions on this thread while it lives. Those that ask for a tensor's value end in these.
class Questions {
 public:
  Questions()
      : handle_(at::addThreadLocalCallback(
            at::RecordFunctionCallback(note).scopes({at::RecordScope::FUNCTION}))) {
    asked_.clear();
  }
  ~Questions() { at::removeCallback(handle_); }
  static std::vector<std::string> asked() { return asked_; }

 private:
  static std::unique_ptr<at::ObserverContext> note(const at::RecordFunction& function) {
    const std::string name = function.name();
    for (const char* waits : {"aten::_local_scalar_dense", "aten::item", "aten::is_nonzero",
                              "aten::equal", "aten::unique", "aten::masked_select"}) {
      if (name.starts_with(waits)) asked_.push_back(name);
    }
    return nullptr;
  }

  static inline std::vector<std::string> asked_;
  at::CallbackHandle handle_;
};

class HostSyncTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override { install_backend(test::device().type(), chosen()); }
  void TearDown() override { install_backend(test::device().type(), before_); }

 private:
  // That of GPUs where the CPU can stand in for one.
  static const Backend& chosen() {
    return cuda_backend(test::runs_cuda_kernels() ? CudaKernels::kAll : CudaKernels::kProven);
  }
  const Backend& before_ = backend_of(test::device());
};

TEST_P(HostSyncTest, AStepAsksForNothingBeforeItsEnd) {
  for (const bool with_adapters : {false, true}) {
    SCOPED_TRACE(with_adapters);
    const test::TempDir directory;
    const auto store = test::byte_store(directory, 12);
    const auto model = test::tiny_model(test::byte_model_spec());
    model->set_compute({.dtype = GetParam()});
    test::RunOptions options;
    if (with_adapters) options.lora = {.rank = 2, .dropout = 0.5};
    const auto pass = std::make_shared<DropoutPass>();
    LocalGradients gradients(test::trained_parameters(*model, options, pass));
    TrainingStep step =
        StepLoader(ExampleStream(store, {}, {.rows = 12, .micro_tokens = 30, .seed = 3})).next();
    ASSERT_GT(step.micro_batches.size(), 2u);
    SftObjective objective;
    const Questions questions;
    std::vector<std::string> asked = {"the step did not end"};
    const StepContext context = {.decoder = *model,
                                 .gradients = gradients,
                                 .dropout = with_adapters ? pass.get() : nullptr,
                                 .stop = [&] {
                                   asked = Questions::asked();
                                   return false;
                                 }};
    accumulate(step, objective, context);
    EXPECT_EQ(asked, std::vector<std::string>());
  }
}

TEST(Questions, AreSeen) {
  const Questions questions;
  static_cast<void>(at::zeros({1}).item<double>());
  EXPECT_FALSE(Questions::asked().empty());
}

INSTANTIATE_TEST_SUITE_P(Types, HostSyncTest, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& type) {
                           return std::string(type.param == at::kFloat ? "fp32" : "bf16");
                         });

}  // namespace
}  // namespace continuo
