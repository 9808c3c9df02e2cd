// Passes that are recorded equal those that are not.
#include "nn/cuda/graph_executor.h"

#include <map>

#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "support/cuda_on_cpu/replayed_graph.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

MakeDeviceGraph graphs() {
  return test::device().is_cuda() ? built_device_graphs() : test::make_replayed_graph;
}

// An executor with graphs beside one without, both of one model and fed the same.
class GraphExecutorTest : public testing::Test {
 protected:
  void SetUp() override {
    if (test::device().is_cpu()) GTEST_SKIP() << "the CPU has no slots";
    make(test::tiny_spec());
  }
  void make(const ModelSpec& spec) {
    model_ = test::tiny_model(spec);
    const ExecutorOptions options = {.weights = WeightFormat::bf16};
    graphed_ = std::make_unique<GraphExecutor>(model_, options, graphs());
    plain_ = std::make_unique<ModuleExecutor>(model_, options);
    cache_ = graphed_->make_cache();
    expected_cache_ = plain_->make_cache();
  }

  int64_t add() {
    expected_cache_->add();
    return cache_->add();
  }
  // Appends `count` tokens to each sequence in one pass, in reverse order of documents the logits.
  void feed(const std::vector<int64_t>& ids, int64_t count) {
    RaggedInput input;
    std::vector<int64_t> tokens, positions;
    input.boundaries = {0};
    for (const int64_t id : ids) {
      for (int64_t i = 0; i < count; ++i) {
        tokens.push_back(next_++ * 7 % spec().embedding.vocabulary);
        positions.push_back(cache_->length(id) + i);
      }
      input.boundaries.push_back(std::ssize(tokens));
    }
    input.tokens = at::tensor(tokens, at::kLong).to(test::device());
    input.positions = at::tensor(positions, at::kLong).to(test::device());
    std::vector<int64_t> wanted;
    for (size_t d = ids.size(); d-- > 0;) wanted.push_back(input.boundaries[d + 1] - 1);
    const PassResult got = graphed_->run({input, *cache_, ids, {}, wanted}),
                     expected = plain_->run({input, *expected_cache_, ids, {}, wanted});
    EXPECT_LT(test::max_difference(got.hidden, expected.hidden), 0.05);
    EXPECT_LT(test::max_difference(got.logits, expected.logits), 0.05);
    for (const int64_t id : ids) EXPECT_EQ(cache_->length(id), expected_cache_->length(id));
  }
  const ModelSpec& spec() const { return model_->spec(); }

  std::shared_ptr<Transformer> model_;
  std::unique_ptr<GraphExecutor> graphed_;
  std::unique_ptr<ModuleExecutor> plain_;
  std::unique_ptr<KVCache> cache_, expected_cache_;
  int64_t next_ = 1;
};

TEST_F(GraphExecutorTest, SequencesComeAndGo) {
  const int64_t a = add(), b = add(), c = add();
  feed({a}, 9);
  feed({b, c}, 4);
  for (int i = 0; i < 6; ++i) feed({a, b, c}, 1);
  const int64_t replays = graphed_->replays();
  EXPECT_EQ(replays, 4) << "of six passes the first two come before it";
  for (int i = 0; i < 4; ++i) feed({c, a, b}, 1);  // another order, the same shape
  EXPECT_EQ(graphed_->replays(), replays + 4);
  cache_->remove(b);
  expected_cache_->remove(b);
  for (int i = 0; i < 4; ++i) feed({a, c}, 1);  // two rows are another shape
  EXPECT_EQ(graphed_->replays(), replays + 6);
  const int64_t d = cache_->fork(a);
  EXPECT_EQ(expected_cache_->fork(a), d);
  for (int i = 0; i < 4; ++i) feed({a, d, c}, 1);
}

TEST_F(GraphExecutorTest, TheCacheGrows) {
  const int64_t a = add(), b = add();
  feed({a, b}, 3);
  for (int i = 0; i < 4; ++i) feed({a, b}, 1);
  const int64_t before = graphed_->replays();
  EXPECT_GT(before, 0);
  // More rows than the tensors have, between two passes of the recorded shape.
  std::vector<int64_t> many;
  for (int i = 0; i < 5; ++i) many.push_back(add());
  feed(many, 60);
  for (int i = 0; i < 4; ++i) feed({a, b}, 1);
  EXPECT_GT(graphed_->replays(), before);
}

TEST_F(GraphExecutorTest, WeightsChange) {
  const int64_t a = add();
  feed({a}, 3);
  for (int i = 0; i < 4; ++i) feed({a}, 1);
  {
    const c10::NoGradGuard no_grad;
    for (at::Tensor& parameter : model_->parameters()) parameter.mul_(0.9);
  }
  graphed_->refresh();
  plain_->refresh();
  for (int i = 0; i < 4; ++i) feed({a}, 1);
}

TEST_F(GraphExecutorTest, WindowsAndWhatAGraphCannotHold) {
  make(test::tiny_spec([](BlockSpec& block) { block.attend().window = 5; }));
  const int64_t a = add();
  feed({a}, 9);
  for (int i = 0; i < 5; ++i) feed({a}, 1);
  EXPECT_GT(graphed_->replays(), 0);

  make(test::tiny_spec([](BlockSpec& block) { block.attend().softcap = 20; }));
  const int64_t capped = add();
  feed({capped}, 9);
  for (int i = 0; i < 5; ++i) feed({capped}, 1);
  EXPECT_EQ(graphed_->replays(), 0);
}

TEST_F(GraphExecutorTest, AnAdapterIsComputedWithout) {
  const int64_t a = add();
  feed({a}, 3);
  for (int i = 0; i < 4; ++i) feed({a}, 1);
  const int64_t before = graphed_->replays();
  AdapterWeights adapter;
  const auto numbers = at::TensorOptions(at::kFloat);
  adapter[{0, Matrix::down}] = {.a = at::ones({2, 48}, numbers), .b = at::ones({32, 2}, numbers)};
  const int64_t id = graphed_->add_adapter(adapter);
  const at::Tensor token = at::tensor({int64_t{3}}).to(test::device());
  const at::Tensor position = at::tensor({cache_->length(a)}).to(test::device());
  const RaggedInput input = {.tokens = token, .positions = position, .boundaries = {0, 1}};
  graphed_->run({input, *cache_, {a}, {id}, {0}});
  EXPECT_EQ(graphed_->replays(), before);
}

}  // namespace
}  // namespace continuo
