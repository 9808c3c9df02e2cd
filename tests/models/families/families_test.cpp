// Every family against transformers: the checkpoints and references under tests/golden/families.
#include <algorithm>
#include <cstdlib>
#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/nll_loss.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "io/safetensors.h"
#include "models/families/rope_config.h"
#include "models/store/model.h"
#include "models/store/save_model.h"
#include "nn/backend.h"
#include "nn/executor.h"
#include "nn/unset_parameter.h"
#include "support/backend.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;
using test::max_difference;
using test::ragged;

std::vector<std::string> golden_families() {
  std::vector<std::string> names;
  for (const auto& entry :
       fs::directory_iterator(fs::path(CONTINUO_SOURCE_DIR) / "tests/golden/families")) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<int64_t> id_list(const at::Tensor& t) {
  return {t.data_ptr<int64_t>(), t.data_ptr<int64_t>() + t.numel()};
}

class FamilyTest : public testing::TestWithParam<std::string> {
 protected:
  FamilyTest()
      : directory_(fs::path(CONTINUO_SOURCE_DIR) / "tests/golden/families" / GetParam()),
        reference_(directory_ / "reference.safetensors"),
        facts_(read_json(directory_ / "reference.json")) {
    for (int i = 0; i < 2; ++i) {
      documents_.push_back(id_list(reference_.tensor("tokens." + std::to_string(i))));
      logits_.push_back(reference_.tensor("logits." + std::to_string(i)));
    }
  }

  std::unique_ptr<Executor> executor_of(const Model& model,
                                        at::ScalarType dtype = at::kFloat) const {
    const bool half = dtype == at::kBFloat16;
    return make_executor(model.decoder, {.weights = half ? WeightFormat::bf16 : WeightFormat::f32,
                                         .cache = half ? KVFormat::bf16 : KVFormat::f32});
  }

  at::Tensor all_logits(const Model& model, const RaggedInput& input) const {
    return model.decoder->logits(model.decoder->forward(input));
  }

  at::Tensor all_logits(Executor& executor, KVCache& cache, const RaggedInput& input,
                        const std::vector<int64_t>& sequences) const {
    std::vector<int64_t> rows(input.tokens.size(0));
    std::iota(rows.begin(), rows.end(), 0);
    return executor.run({.input = input, .cache = cache, .sequences = sequences, .wanted = rows})
        .logits;
  }

  fs::path directory_;
  SafetensorsFile reference_;
  nlohmann::json facts_;
  std::vector<std::vector<int64_t>> documents_;
  std::vector<at::Tensor> logits_;
};

TEST_P(FamilyTest, LogitsOfPackedDocumentsEqualThoseOfTransformers) {
  const c10::NoGradGuard no_grad;
  const Model model = load_model(directory_, {.device = test::device()});
  const at::Tensor packed =
      all_logits(model, ragged({documents_[0], documents_[1], documents_[0]}));
  const int64_t a = logits_[0].size(0), b = logits_[1].size(0);
  EXPECT_LT(max_difference(packed.narrow(0, 0, a), logits_[0]), 1e-4);
  EXPECT_LT(max_difference(packed.narrow(0, a, b), logits_[1]), 1e-4);
  EXPECT_LT(max_difference(packed.narrow(0, a + b, a), logits_[0]), 1e-4);
}

TEST_P(FamilyTest, MatricesLeftInTheirFilesServeAsThoseInMemory) {
  const c10::NoGradGuard no_grad;
  const RaggedInput input = ragged({documents_[0]});
  for (const WeightFormat format :
       {WeightFormat::f32, WeightFormat::bf16, WeightFormat::q8, WeightFormat::q4}) {
    SCOPED_TRACE(name(format));
    std::vector<at::Tensor> logits;
    for (const Held held : {Held::memory, Held::stored}) {
      const Model model = load_model(directory_, {.device = test::device(), .held = held});
      EXPECT_EQ(model.decoder->device().type(), test::device().type());
      EXPECT_EQ(is_unset(model.decoder->head_weight()), held == Held::stored);
      const auto executor = make_executor(model.decoder, {.weights = format});
      const auto cache = executor->make_cache();
      logits.push_back(all_logits(*executor, *cache, input, {cache->add()}));
      if (!is_quantised(format) || held == Held::memory) continue;
      for (const auto& [place, layer] : model.decoder->linear_slots())
        EXPECT_EQ(is_unset(layer->weight), place.matrix != Matrix::router);
    }
    EXPECT_TRUE(logits[0].equal(logits[1]));
  }
}

TEST_P(FamilyTest, ModulesComputeWithWhatAnExecutorHolds) {
  if (backend_of(test::device()).name != std::string_view("cpu"))
    GTEST_SKIP() << "other executors hold what modules do";
  const c10::NoGradGuard no_grad;
  const RaggedInput input = ragged({documents_[0], documents_[1]});
  const Model in_file = load_model(directory_, {.held = Held::stored});
  EXPECT_TRUE(all_logits(in_file, input)
                  .equal(all_logits(load_model(directory_, {.held = Held::memory}), input)));
  for (const WeightFormat format : {WeightFormat::f32, WeightFormat::q8, WeightFormat::q4}) {
    SCOPED_TRACE(name(format));
    const Model held = load_model(directory_, {.held = Held::stored}),
                copied = load_model(directory_, {.held = Held::memory});
    const auto executor = make_executor(held.decoder, {.weights = format});
    read_from(*executor, *held.decoder);
    const auto copy = [](const WeightMatrix& from, const at::Tensor& to) {
      EXPECT_EQ(from.out(), to.size(0));
      at::Tensor(to).copy_(from.rows(0, from.out()));
    };
    for (const auto& [place, layer] : copied.decoder->linear_slots())
      copy(executor->matrix(place), layer->weight);
    copy(executor->head_matrix(), copied.decoder->head_weight());
    const at::Tensor logits = all_logits(held, input);
    EXPECT_TRUE(logits.equal(all_logits(copied, input)));
    const bool exact = format == WeightFormat::f32;
    EXPECT_EQ(max_difference(logits.narrow(0, 0, logits_[0].size(0)), logits_[0]) < 1e-4, exact);
  }
}

TEST_P(FamilyTest, GradientsOfTheCompletionLossEqualThoseOfTransformers) {
  const Model model = load_model(directory_, {.device = test::device(), .held = Held::memory});
  const int64_t from = facts_["trained_from"];
  for (const bool recompute : {false, true}) {
    model.decoder->set_compute({.recompute = recompute});
    model.decoder->zero_grad();
    const at::Tensor hidden = model.decoder->forward(ragged(documents_));
    at::Tensor total;
    int64_t offset = 0, count = 0;
    for (int i = 0; i < 2; ++i) {
      const auto n = static_cast<int64_t>(documents_[i].size());
      const at::Tensor logits =
          model.decoder->logits(hidden.narrow(0, offset + from - 1, n - from));
      const at::Tensor targets = reference_.tensor("tokens." + std::to_string(i))
                                     .narrow(0, from, n - from)
                                     .to(test::device());
      const at::Tensor loss = at::nll_loss(at::log_softmax(logits, 1), targets) * (n - from);
      total = total.defined() ? total + loss : loss;
      offset += n;
      count += n - from;
    }
    total = total / count;
    EXPECT_NEAR(total.item<double>(), reference_.tensor("loss").item<double>(), 1e-5);
    total.backward();
    for (const auto& item : model.decoder->named_parameters()) {
      const std::string name = "grad." + model.family->checkpoint_name(item.key());
      if (!reference_.tensors().contains(name)) continue;
      const Placement place = model.family->placement
                                  ? model.family->placement(item.key(), model.decoder->spec())
                                  : Placement{};
      const at::Tensor expected =
          place.part(reference_.tensor(name), item.value().sizes()).reshape(item.value().sizes());
      const double scale = std::max(1e-3, expected.abs().max().item<double>());
      EXPECT_LT(max_difference(item.value().grad(), expected) / scale, 1e-4) << item.key();
    }
  }
}

TEST_P(FamilyTest, GreedyDecodingThroughTheCacheGivesTheTextOfTransformers) {
  const c10::NoGradGuard no_grad;
  const Model model = load_model(directory_, {.device = test::device()});
  const std::vector<int64_t> expected = id_list(reference_.tensor("greedy"));
  const int64_t prompt = facts_["prompt"];
  std::vector<int64_t> tokens(expected.begin(), expected.begin() + prompt);
  const auto executor = executor_of(model);
  const auto cache = executor->make_cache();
  const int64_t id = cache->add();
  at::Tensor logits = all_logits(*executor, *cache, ragged({tokens}), {id});
  while (tokens.size() < expected.size()) {
    tokens.push_back(logits[logits.size(0) - 1].argmax().item<int64_t>());
    logits = all_logits(*executor, *cache,
                        ragged({{tokens.back()}}, static_cast<int64_t>(tokens.size()) - 1), {id});
  }
  EXPECT_EQ(tokens, expected);
}

TEST_P(FamilyTest, CachedPiecesAgreeWithTheWholeDocument) {
  const c10::NoGradGuard no_grad;
  const Model model = load_model(directory_, {.device = test::device()});
  std::vector<int64_t> tokens = documents_[1];
  // Rotation by the document's length makes a cached key differ from that of a whole pass.
  const RopeScaling scaling = main_rotary(model.decoder->spec()).scaling;
  if (scaling.kind == RopeKind::dynamic || scaling.kind == RopeKind::longrope)
    tokens.resize(scaling.original_context);
  const auto n = static_cast<int64_t>(tokens.size());
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    model.decoder->set_compute({.dtype = dtype});
    const at::Tensor whole = all_logits(model, ragged({tokens}));
    const double tolerance = dtype == at::kFloat ? 1e-4 : 0.15 * whole.abs().max().item<double>();
    const auto executor = executor_of(model, dtype);
    const auto cache = executor->make_cache();
    const int64_t id = cache->add();
    int64_t begin = 0;
    for (const int64_t size : {3, 8, 1, 1, 2, 1}) {
      const std::vector<int64_t> piece(tokens.begin() + begin, tokens.begin() + begin + size);
      const at::Tensor logits = all_logits(*executor, *cache, ragged({piece}, begin), {id});
      EXPECT_LT(max_difference(logits, whole.narrow(0, begin, size)), tolerance) << begin;
      begin += size;
    }
    for (; begin < n; ++begin) {
      const at::Tensor logits =
          all_logits(*executor, *cache, ragged({{tokens[begin]}}, begin), {id});
      EXPECT_LT(max_difference(logits[0], whole[begin]), tolerance) << begin;
    }
  }
}

TEST_P(FamilyTest, DecodingASequenceGivesTheSameBitsInAnyBatch) {
  if (test::on_reference()) GTEST_SKIP() << "a promise of the CPU\'s own backend";
  const c10::NoGradGuard no_grad;
  const Model model = load_model(directory_, {.device = test::device()});
  const auto executor = executor_of(model);
  const auto prefill = [&](KVCache& cache, const std::vector<int64_t>& tokens) {
    const int64_t id = cache.add();
    executor->run({.input = ragged({tokens}), .cache = cache, .sequences = {id}});
    return id;
  };
  const std::vector<int64_t> shorter(documents_[0].begin(), documents_[0].begin() + 4);
  const auto alone = executor->make_cache(), batch = executor->make_cache();
  const int64_t single = prefill(*alone, documents_[0]);
  const int64_t first = prefill(*batch, shorter), same = prefill(*batch, documents_[0]);
  const int64_t last = prefill(*batch, documents_[1]);
  const int64_t n = 11;
  for (int64_t step = 0; step < 3; ++step) {
    const at::Tensor one = all_logits(*executor, *alone, ragged({{7 + step}}, n + step), {single});
    RaggedInput input = ragged({{3}, {7 + step}, {9}});
    int64_t* positions = input.positions.data_ptr<int64_t>();
    positions[0] = 4 + step;
    positions[1] = n + step;
    positions[2] = 29 + step;
    const at::Tensor three = all_logits(*executor, *batch, input, {first, same, last});
    EXPECT_TRUE(one[0].equal(three[1])) << "step " << step;
  }
}

TEST_P(FamilyTest, SavingWritesTheSameTensorsAndAnEqualConfiguration) {
  const test::TempDir temporary;
  // scripts/golden/check_families.py opens what is left there with transformers.
  const char* kept = std::getenv("CONTINUO_SAVED_FAMILIES");
  const fs::path directory = kept ? fs::path(kept) / GetParam() : temporary.path();
  fs::create_directories(directory);
  const Model model = load_model(directory_, {.device = test::device()});
  save_model(model, directory, {.bos = 1, .pad = 0, .eos = {2}});
  const SafetensorsFile before(directory_ / "model.safetensors"),
      after(directory / "model.safetensors");
  EXPECT_EQ(before.tensors().size(), after.tensors().size());
  for (const auto& [name, info] : before.tensors()) {
    ASSERT_TRUE(after.tensors().contains(name)) << name;
    EXPECT_TRUE(before.tensor(name).equal(after.tensor(name))) << name;
  }
  const Model back = load_model(directory, {.device = test::device()});
  EXPECT_EQ(back.family, model.family);
  EXPECT_EQ(back.decoder->spec(), model.decoder->spec());
  const auto theirs = back.decoder->named_parameters();
  for (const auto& item : model.decoder->named_parameters()) {
    EXPECT_TRUE(item.value().equal(theirs[item.key()])) << item.key();
  }
}

TEST_P(FamilyTest, AKeyThatIsNotKnownIsRefusedByName) {
  const Family* family =
      find_family(read_json(directory_ / "config.json")["model_type"].get<std::string>());
  ASSERT_NE(family, nullptr);
  nlohmann::json config = read_json(directory_ / "config.json");
  config["clip_qkv"] = nullptr;
  EXPECT_NO_THROW(family->read_config(config, "dir/config.json"));
  config["clip_qkv"] = 8.0;
  try {
    family->read_config(config, "dir/config.json");
    FAIL() << "clip_qkv was ignored";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("key 'clip_qkv' is not known"), std::string::npos)
        << error.what();
    EXPECT_EQ(std::string(error.what()).find("dir/config.json"), 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, FamilyTest, testing::ValuesIn(golden_families()),
                         [](const auto& golden) { return golden.param; });

TEST(Families, AllAreMadeFromScratchAndTrain) {
  for (const Family& family : families()) {
    ModelConfig config;
    config.family = family.name;
    config.layers = 2;
    config.hidden = 32;
    config.heads = 4;
    config.context = 64;
    const Model model = make_model(config, 37, test::device());
    const at::Tensor logits =
        model.decoder->logits(model.decoder->forward(ragged({test::random_tokens(9, 37, 1)})));
    logits.pow(2).sum().backward();
    for (const auto& item : model.decoder->named_parameters()) {
      EXPECT_TRUE(item.value().grad().defined()) << family.name << " " << item.key();
      EXPECT_TRUE(item.value().grad().isfinite().all().item<bool>())
          << family.name << " " << item.key();
    }
  }
}

TEST(Families, AShapeThatAFamilyDoesNotHaveIsRefused) {
  ModelConfig config;
  config.family = "gpt2";
  config.hidden = 32;
  config.heads = 4;
  config.kv_heads = 2;
  EXPECT_THROW(make_model(config, 37, test::device()), Error);
}

TEST(Families, ADocumentBeyondLearnedPositionsIsAnError) {
  ModelConfig config;
  config.family = "gpt2";
  config.layers = 1;
  config.hidden = 16;
  config.heads = 2;
  config.context = 8;
  const Model model = make_model(config, 37, test::device());
  EXPECT_NO_THROW(model.decoder->forward(ragged({test::random_tokens(8, 37, 1)})));
  EXPECT_THROW(model.decoder->forward(ragged({test::random_tokens(9, 37, 1)})), Error);
}

}  // namespace
}  // namespace continuo
