// Training on several ranks: real processes that meet over the loopback device.
#include "support/ranks.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "core/config/keys.h"
#include "core/interrupt.h"
#include "core/process.h"
#include "nn/unset_parameter.h"
#include "support/training.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;
using test::byte_store;
using test::metrics_of;
using test::RankEnd;
using test::run_ranks;
using test::RunOptions;
using test::RunResult;
using test::train_run;

// Trains in so many processes, one as well: one that has run backward passes of a device cannot
// fork. Expects that all of them end well.
void train_on(int64_t ranks, const fs::path& run_dir,
              const std::shared_ptr<const ExampleStore>& store, const RunOptions& options) {
  const auto ends = run_ranks(ranks, [&](Communicator& communicator) {
    RunOptions own = options;
    own.ranks = &communicator;
    train_run(run_dir, store, own);
  });
  for (const RankEnd& end : ends) EXPECT_EQ(end.code, 0) << end.error;
}

std::map<std::string, at::Tensor> tensors_of(const fs::path& run_dir, const char* file) {
  return SafetensorsFile(latest_checkpoint(run_dir).path / file).all();
}

std::string bytes_of(const fs::path& run_dir, const char* file) {
  return test::read_file(latest_checkpoint(run_dir).path / file);
}

void expect_same_training(const fs::path& a, const fs::path& b, double tolerance) {
  const auto of_a = metrics_of(a), of_b = metrics_of(b);
  ASSERT_EQ(of_a.size(), of_b.size());
  for (size_t i = 0; i < of_a.size(); ++i) {
    for (const char* key :
         {"loss", "nll", "accuracy", "entropy", "grad_norm", "eval_loss", "eval_accuracy"}) {
      if (!of_a[i].contains(key)) continue;
      const double x = of_a[i][key], y = of_b[i][key];
      EXPECT_NEAR(x, y, tolerance * std::max(1.0, std::abs(x))) << key << " of line " << i;
    }
    for (const char* key : {"lr", "step_tokens", "step_trained_tokens", "rows", "eval_rows"}) {
      if (of_a[i].contains(key)) {
        EXPECT_EQ(of_a[i][key], of_b[i][key]) << key << " of line " << i;
      }
    }
  }
  for (const char* file : {"model.safetensors", kOptimizerFile}) {
    const auto x = tensors_of(a, file), y = tensors_of(b, file);
    ASSERT_EQ(x.size(), y.size());
    for (const auto& [name, tensor] : x) {
      EXPECT_LT(test::max_difference(tensor.to(at::kDouble), y.at(name).to(at::kDouble)), tolerance)
          << name;
    }
  }
}

RunOptions five_steps() {
  RunOptions options;
  options.batch.micro_tokens = 40;
  options.train.steps = 5;
  options.train.lr = 1e-3;
  options.train.eval_every = 2;
  options.with_eval = true;
  // A shorter run is the beginning of a longer one.
  options.schedule.kind = ScheduleKind::kConstant;
  return options;
}

struct Kind {
  const char* name;
  std::function<void(RunOptions&)> change;
};

class RanksTrainTest : public testing::TestWithParam<Kind> {};

TEST_P(RanksTrainTest, AsOneProcessDoes) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 20);
  RunOptions options = five_steps();
  GetParam().change(options);
  train_on(1, directory / "one", store, options);
  for (const int64_t ranks : {2, 3}) {
    options.train.shard = Shard::kOptimizer;
    const fs::path parted = directory / fmt::format("parted{}", ranks);
    train_on(ranks, parted, store, options);
    expect_same_training(directory / "one", parted, 2e-6);

    const fs::path again = directory / fmt::format("again{}", ranks);
    train_on(ranks, again, store, options);
    options.train.shard = Shard::kNone;
    const fs::path whole = directory / fmt::format("whole{}", ranks);
    train_on(ranks, whole, store, options);
    for (const char* file : {"model.safetensors", kOptimizerFile}) {
      EXPECT_TRUE(bytes_of(parted, file) == bytes_of(again, file)) << "the same run twice";
      EXPECT_TRUE(bytes_of(parted, file) == bytes_of(whole, file)) << "parted and whole";
    }

    options.train.shard = Shard::kAll;
    const fs::path all = directory / fmt::format("all{}", ranks);
    train_on(ranks, all, store, options);
    expect_same_training(directory / "one", all, 2e-6);
    const fs::path all_again = directory / fmt::format("all_again{}", ranks);
    train_on(ranks, all_again, store, options);
    for (const char* file : {"model.safetensors", kOptimizerFile})
      EXPECT_TRUE(bytes_of(all, file) == bytes_of(all_again, file)) << "the same run twice";
  }
}
INSTANTIATE_TEST_SUITE_P(
    Kinds, RanksTrainTest,
    testing::Values(
        Kind{"plain", [](RunOptions&) {}},
        Kind{"one_micro_batch", [](RunOptions& o) { o.batch.micro_tokens = 1 << 20; }},
        // Two of three ranks have nothing to compute.
        Kind{"fewer_rows_than_ranks", [](RunOptions& o) { o.batch.rows = 1; }},
        Kind{"recompute", [](RunOptions& o) { o.train.recompute = true; }},
        Kind{"head_of_its_own", [](RunOptions& o) { o.model.head.tied = false; }},
        Kind{"learned_positions", [](RunOptions& o) { o.model.embedding.positions = 128; }},
        Kind{"lora",
             [](RunOptions& o) { o.lora = LoraOptions{.rank = 3, .alpha = 6, .dropout = 0.2}; }}),
    [](const auto& test) { return test.param.name; });

class RanksShardTest : public testing::TestWithParam<Shard> {};
INSTANTIATE_TEST_SUITE_P(Shards, RanksShardTest, testing::Values(Shard::kOptimizer, Shard::kAll),
                         [](const auto& test) { return std::string(enum_name(test.param)); });

// Products in bf16 round gradients of one micro-batch, so that the cut of a step shows.
TEST_P(RanksShardTest, TrainInBfloat16) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 20);
  RunOptions options = five_steps();
  options.train.dtype = ComputeType::kBfloat16;
  options.train.shard = GetParam();
  train_on(1, directory / "one", store, options);
  train_on(2, directory / "two", store, options);
  const auto one = metrics_of(directory / "one"), two = metrics_of(directory / "two");
  ASSERT_EQ(one.size(), two.size());
  EXPECT_NEAR(one.front()["loss"].get<double>(), two.front()["loss"].get<double>(), 1e-6);
  EXPECT_NEAR(one.back()["eval_loss"].get<double>(), two.back()["eval_loss"].get<double>(), 2e-3);
  if (GetParam() == Shard::kAll) return;  // which adds ranks before micro-batches
  options.train.shard = Shard::kNone;
  train_on(2, directory / "whole", store, options);
  expect_same_training(directory / "whole", directory / "two", 2e-6);
}

TEST_P(RanksShardTest, SendMatricesInTheDtypeOfProductsAndKeepThemExact) {
  const auto ends = run_ranks(2, [&](Communicator& ranks) {
    const test::Threads one(1);
    const auto model = test::tiny_model(test::byte_model_spec()),
               other = test::tiny_model(test::byte_model_spec());
    std::map<std::string, at::Tensor> exact;
    for (const auto& item : other->named_parameters()) exact[item.key()] = item.value();
    for (Transformer* m : {model.get(), other.get()}) m->set_compute({.dtype = at::kBFloat16});
    RunOptions options;
    options.ranks = &ranks;
    options.train.shard = GetParam();
    const auto gradients = test::gradients_of(*model, test::named_parameters(*model), options);
    for (const LinearImpl* layer : linear_layers(*model)) {
      if (layer->passing.scalar_type() != at::kBFloat16)
        throw std::runtime_error("a matrix is not sent as products read it");
    }
    const RaggedInput input = test::ragged({test::random_tokens(20, 60, 1)});
    const c10::NoGradGuard no_grad;
    const auto logits = [&](Transformer& m) { return m.logits(m.forward(input)); };
    if (!logits(*model).equal(logits(*other))) throw std::runtime_error("other products");
    const auto check = [&](const NamedParameters& some) {
      for (const auto& [name, parameter] : some) {
        if (!parameter.equal(exact.at(name))) throw std::runtime_error(name + " is not exact");
      }
    };
    gradients->hand_over(check);
    gradients->settle();
    if (ranks.is_first()) check(test::named_parameters(*model));
    if (!logits(*model).equal(logits(*other)))
      throw std::runtime_error("other products after them");
  });
  for (const RankEnd& end : ends) EXPECT_EQ(end.code, 0) << end.error;
}

TEST(Ranks, CountTheWeightsOfAllRows) {
  const test::TempDir directory;
  std::string text;
  for (int i = 0; i < 8; ++i) {
    text += nlohmann::json({{"prompt", std::string(static_cast<size_t>(4 + i), 'p')},
                            {"completion", "answer"},
                            {"weight", 0.3 * i}})
                .dump() +
            "\n";
  }
  const auto file = directory.write("rows.jsonl", text);
  DataConfig config;
  config.cache = (directory / "cache").string();
  config.train.emplace_back().path = file.string();
  config.train.back().row_weight = "weight";
  const auto store = open_example_store(config, config.train, test::ByteTokenizer(),
                                        PromptTemplate(PromptConfig{}), 128);
  RunOptions options = five_steps();
  options.batch = {.rows = 4, .micro_tokens = 12, .shuffle = false};
  train_on(1, directory / "one", store, options);
  train_on(3, directory / "three", store, options);
  expect_same_training(directory / "one", directory / "three", 2e-6);
}

// A micro-batch without a trained token, on a rank that has no other.
TEST(Ranks, AMaskedMicroBatchHangsNobody) {
  const std::vector<TokenId> ids = {10, 20, 30, 40};
  const std::vector<uint8_t> all = {0, 1, 1, 1}, none = {0, 0, 0, 0};
  const auto batch = [&](bool trained) {
    const ExampleView view{ids, trained ? all : none};
    const int64_t row = trained ? 0 : 1;
    return make_batch({&view, 1}, {&row, 1});
  };
  const auto norm = [&](Gradients& gradients, Transformer& model, bool trained, bool both) {
    TrainingStep step;
    if (both || trained) {
      step.add(batch(true));
    } else {
      step.count(batch(true).counts());
    }
    if (both || !trained) {
      step.add(batch(false));
    } else {
      step.count(batch(false).counts());
    }
    SftObjective objective;
    return accumulate(step, objective, {.decoder = model, .gradients = gradients}).gradient_norm;
  };
  const auto ends = run_ranks(2, [&](Communicator& ranks) {
    const test::Threads thread(1);
    const auto one = test::tiny_model(test::byte_model_spec());
    LocalGradients local(test::named_parameters(*one));
    const double expected = norm(local, *one, true, true);
    const auto model = test::tiny_model(test::byte_model_spec());
    RankedGradients gradients(test::named_parameters(*model), ranks, {});
    const double got = norm(gradients, *model, ranks.is_first(), false);
    if (!(std::abs(got - expected) < 1e-6 * expected))
      throw std::runtime_error(fmt::format("{} instead of {}", got, expected));
  });
  for (const RankEnd& end : ends) EXPECT_EQ(end.code, 0) << end.error;
}

TEST_P(RanksShardTest, ARunGoesOnWithMoreAndWithFewer) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 20);
  RunOptions options = five_steps();
  options.train.shard = GetParam();
  options.train.steps = 9;
  train_on(1, directory / "whole", store, options);
  RunOptions part = options;
  const auto until = [&](int64_t steps, int64_t ranks, bool resume) {
    part.train.steps = steps;
    part.resume = resume;
    train_on(ranks, directory / "parts", store, part);
  };
  until(3, 3, false);
  EXPECT_EQ(latest_checkpoint(directory / "parts").state.step, 3);
  until(6, 1, true);
  until(9, 2, true);
  const auto x = tensors_of(directory / "whole", "model.safetensors"),
             y = tensors_of(directory / "parts", "model.safetensors");
  for (const auto& [name, tensor] : x)
    EXPECT_LT(test::max_difference(tensor, y.at(name)), 5e-6) << name;
}

TEST_P(RanksShardTest, TheSameNumberOfThemGoesOnBitForBit) {
  for (const ComputeType dtype : {ComputeType::kFloat32, ComputeType::kBfloat16}) {
    const test::TempDir directory;
    const auto store = byte_store(directory, 20);
    RunOptions options = five_steps();
    options.train.dtype = dtype;
    options.train.shard = GetParam();
    options.train.steps = 7;
    train_on(2, directory / "whole", store, options);
    options.train.steps = 4;
    train_on(2, directory / "parts", store, options);
    options.train.steps = 7;
    options.resume = true;
    train_on(2, directory / "parts", store, options);
    for (const char* file : {"model.safetensors", kOptimizerFile})
      EXPECT_TRUE(bytes_of(directory / "whole", file) == bytes_of(directory / "parts", file));
  }
}

// Passes everything on; `before` is told what is about to be waited for.
class Watched : public Communicator {
 public:
  Watched(Communicator& inner, std::function<void(std::string_view)> before)
      : inner_(inner), before_(std::move(before)) {}
  int64_t rank() const override { return inner_.rank(); }
  int64_t size() const override { return inner_.size(); }
  void enter(std::string stage) override {
    before_(stage);
    inner_.enter(std::move(stage));
  }
  Pending reduce_scatter(const at::Tensor& part, const at::Tensor& whole,
                         std::string_view what) override {
    before_(what);
    return inner_.reduce_scatter(part, whole, what);
  }
  Pending all_gather(const at::Tensor& whole, const at::Tensor& part,
                     std::string_view what) override {
    before_(what);
    return inner_.all_gather(whole, part, what);
  }
  bool connect_gpus(at::Device own) override { return inner_.connect_gpus(own); }
  std::vector<double> gather(std::span<const double> mine, std::string_view what) override {
    before_(what);
    return inner_.gather(mine, what);
  }
  std::vector<std::string> gather_text(std::string_view mine, std::string_view what) override {
    before_(what);
    return inner_.gather_text(mine, what);
  }
  void stop(std::string_view reason) noexcept override { inner_.stop(reason); }

 private:
  Communicator& inner_;
  std::function<void(std::string_view)> before_;
};

// What parting the weights is for: of embedding, blocks and head a rank holds what computes or is
// written, what comes next, and its own pieces.
TEST(Ranks, HoldTwoPartsAtATime) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 20);
  const auto ends = run_ranks(2, [&](Communicator& communicator) {
    const test::Threads one(1);
    ModelSpec spec = test::byte_model_spec();
    spec.blocks.resize(5, spec.blocks[0]);
    const auto model = test::tiny_model(spec);
    int64_t most = 0, gathers = 0;
    Watched watched(communicator, [&](std::string_view what) {
      if (what != "the weights") return;
      int64_t held = 0;
      // The head is the embedding.
      for (const auto& part : model->parts()) held += !is_unset(part.front());
      held -= !is_unset(model->head_weight());
      most = std::max(most, held);
      ++gathers;
    });
    PartedGradients gradients(*model, test::named_parameters(*model), watched);
    ExampleStream stream(store, {}, {.rows = 4}, 2);
    StepLoader loader(stream, {.rank = communicator.rank()});
    TrainingStep step = loader.next();
    SftObjective objective;
    accumulate(step, objective, {.decoder = *model, .gradients = gradients});
    if (most != 2 || gathers != 1 + 5 + 1 + 5)
      throw std::runtime_error(fmt::format("{} parts at a time, {} gathered", most, gathers));
    const auto expect_let_go = [&] {
      for (const auto& part : model->parts()) {
        if (!is_unset(part.front())) throw std::runtime_error("a part stays");
      }
    };
    expect_let_go();
    most = 0;
    const NamedTensors handed =
        test::copies([&](const Gradients::Take& take) { gradients.hand_over(take); });
    if (most != 2) throw std::runtime_error(fmt::format("{} parts are handed over at once", most));
    expect_let_go();
    gradients.settle();
    if (handed.size() != (communicator.is_first() ? model->named_parameters().size() : 0))
      throw std::runtime_error(fmt::format("{} parameters are handed over", handed.size()));
    for (const auto& [name, values] : handed) {
      if (!values.equal(model->named_parameters()[name])) throw std::runtime_error(name);
    }
    gradients.hand_over([&](const NamedParameters&) {});  // where all of them were
    expect_let_go();
  });
  for (const RankEnd& end : ends) EXPECT_EQ(end.code, 0) << end.error;
}

struct Moment {
  const char* name;
  const char* what;
  int64_t times;  // how often the moment comes before it is the one
  Shard shard = Shard::kOptimizer;
};

class RankKillTest : public testing::TestWithParam<Moment> {};

TEST_P(RankKillTest, TheOthersEndAndNothingIsTorn) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 20);
  RunOptions options = five_steps();
  options.checkpoint_every = 2;
  options.train.shard = GetParam().shard;
  train_on(2, directory / "whole", store, options);
  for (const int64_t victim : {0, 1}) {
    const fs::path run_dir = directory / fmt::format("killed{}", victim);
    const double start = seconds_now();
    const auto ends = run_ranks(2, [&](Communicator& communicator) {
      int64_t left = GetParam().times;
      Watched watched(communicator, [&](std::string_view what) {
        if (communicator.rank() == victim && what == GetParam().what && left-- == 0)
          kill(getpid(), SIGKILL);
      });
      RunOptions own = options;
      own.ranks = &watched;
      train_run(run_dir, store, own);
    });
    EXPECT_LT(seconds_now() - start, 30);
    EXPECT_EQ(ends[static_cast<size_t>(victim)].code, -SIGKILL) << "the kill did not hit";
    const RankEnd& other = ends[static_cast<size_t>(1 - victim)];
    EXPECT_EQ(other.code, 1);
    EXPECT_NE(other.error.find(fmt::format("rank {} of 2, step ", 1 - victim)), std::string::npos)
        << other.error;
    EXPECT_NE(other.error.find(fmt::format("rank {}", victim)), std::string::npos) << other.error;

    ASSERT_FALSE(checkpoint_steps(run_dir).empty());
    RunOptions resumed = options;
    resumed.resume = true;
    train_on(2, run_dir, store, resumed);
    for (const char* file : {"model.safetensors", kOptimizerFile})
      EXPECT_TRUE(bytes_of(directory / "whole", file) == bytes_of(run_dir, file)) << file;
  }
}
INSTANTIATE_TEST_SUITE_P(
    Moments, RankKillTest,
    testing::Values(Moment{"forward", "step 4", 0}, Moment{"reduce", "the gradients", 30},
                    Moment{"update", "the weights", 30},
                    Moment{"save", "the others' parts of a checkpoint", 1},
                    Moment{"gather", "the weights", 40, Shard::kAll},
                    Moment{"reduce_a_block", "the gradients", 12, Shard::kAll},
                    Moment{"save_all", "the others' parts of a checkpoint", 1, Shard::kAll}),
    [](const auto& test) { return test.param.name; });

TEST(Ranks, AnInterruptOfOneEndsAllAtTheSameStep) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 20);
  RunOptions options = five_steps();
  options.train.steps = 50;
  options.train.eval_every = 0;
  for (const int64_t chosen : {0, 1}) {
    const fs::path run_dir = directory / fmt::format("run{}", chosen);
    const auto ends = run_ranks(2, [&](Communicator& communicator) {
      install_interrupt_handlers();
      Watched watched(communicator, [&](std::string_view what) {
        if (communicator.rank() == chosen && what == "step 4") raise(SIGINT);
      });
      RunOptions own = options;
      own.ranks = &watched;
      const RunResult result = train_run(run_dir, store, own);
      if (result.outcome != TrainOutcome::kInterrupted || result.state.step != 4)
        throw std::runtime_error(fmt::format("ended at step {}", result.state.step));
    });
    for (const RankEnd& end : ends) EXPECT_EQ(end.code, 0) << end.error;
    EXPECT_EQ(latest_checkpoint(run_dir).state.step, 4);
  }
}

TEST(Ranks, ALossThatIsNotFiniteNamesTheRowsOfAll) {
  const test::TempDir directory;
  const auto store = byte_store(directory, 10);
  RunOptions options = five_steps();
  options.train.lr = 1e30;
  options.train.steps = 30;
  options.train.eval_every = 0;
  options.with_eval = false;
  const auto ends = run_ranks(2, [&](Communicator& communicator) {
    RunOptions own = options;
    own.ranks = &communicator;
    try {
      train_run(directory / "run", store, own);
    } catch (const CommonError& error) {
      throw std::runtime_error(std::string("common: ") + error.what());
    }
  });
  EXPECT_EQ(ends[0].error, ends[1].error);
  EXPECT_NE(ends[0].error.find("common: "), std::string::npos) << ends[0].error;
  EXPECT_NE(ends[0].error.find("rows10.jsonl:"), std::string::npos) << ends[0].error;
}

}  // namespace
}  // namespace continuo
