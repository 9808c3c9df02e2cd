// The CPU's engine against the modules of training, with every field of a spec off its default; and
// its promise that a row's bits depend on its document and adapter alone.
#include "nn/cpu/engine.h"

#include <algorithm>
#include <functional>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/normal.h>
#include <ATen/ops/randn.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "nn/aten/module_executor.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/served_decoder.h"
#include "support/backend.h"
#include "support/expect_error.h"
#include "support/threads.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

using test::max_difference;
using test::ragged;
using test::random_tokens;

class CpuEngineTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!test::device().is_cpu()) GTEST_SKIP() << "the engine is the CPU's";
  }
};

ModelSpec llama_spec() {
  const BlockSpec block = {
      .mixer = Attend{.heads = 6, .kv_heads = 2, .dim = 16, .rotary = Rotary{.dim = 16}},
      .mlp = Dense{.width = 100}};
  return {.context = 2048,
          .embedding = {.vocabulary = 61, .hidden = 72},  // no multiple of a panel's width
          .blocks = {block, block, block},
          .head = {}};
}

std::shared_ptr<Transformer> model_of(const ModelSpec& spec) {
  auto model = std::make_shared<Transformer>(spec);
  model->initialise(5);
  const c10::NoGradGuard no_grad;
  int64_t salt = 0;
  for (const auto& item :
       model->named_parameters()) {  // norms and biases that matter, scores that differ
    at::Generator generator = at::detail::createCPUGenerator(++salt);
    at::Tensor noise =
        at::normal(0.0, item.value().dim() < 2 ? 0.3 : 0.15, item.value().sizes(), generator);
    item.value().add_(noise);
  }
  return model;
}

// An adapter of every matrix of the model, or of its queries and down projections alone.
AdapterWeights adapter_of(const Transformer& model, int64_t salt, bool every, bool dora) {
  AdapterWeights adapter;
  for (const auto& [place, layer] : model.linear_slots()) {
    if (!every && place.matrix != Matrix::query && place.matrix != Matrix::down) continue;
    at::Generator generator = at::detail::createCPUGenerator(static_cast<uint64_t>(++salt));
    const int64_t out = layer->weight.size(0), in = layer->weight.size(1);
    adapter[place] = {.a = at::normal(0.0, 0.3, {5, in}, generator),
                      .b = at::normal(0.0, 0.3, {out, 5}, generator),
                      .scale = 0.5,
                      .factor = dora ? at::normal(1.0, 0.2, {out}, generator) : at::Tensor()};
  }
  return adapter;
}

// Logits of every position of some sequences, `piece` tokens of each in a pass.
at::Tensor in_pieces(Executor& executor, const std::vector<std::vector<int64_t>>& documents,
                     int64_t piece, const std::vector<int64_t>& adapters = {}) {
  const auto cache = executor.make_cache();
  std::vector<std::vector<at::Tensor>> rows(documents.size());
  std::vector<int64_t> ids;
  for (size_t d = 0; d < documents.size(); ++d) ids.push_back(cache->add());
  for (bool more = true; more;) {
    more = false;
    Pass pass = {.input = {}, .cache = *cache, .sequences = {}};
    std::vector<std::vector<int64_t>> parts;
    std::vector<int64_t> positions;
    std::vector<size_t> of;
    for (size_t d = 0; d < documents.size(); ++d) {
      const int64_t begin = cache->length(ids[d]),
                    end = std::min(begin + piece, std::ssize(documents[d]));
      if (begin == end) continue;
      more = true;
      parts.emplace_back(documents[d].begin() + begin, documents[d].begin() + end);
      for (int64_t i = begin; i < end; ++i) positions.push_back(i);
      pass.sequences.push_back(ids[d]);
      if (!adapters.empty()) pass.adapters.push_back(adapters[d]);
      of.push_back(d);
    }
    if (!more) break;
    pass.input = ragged(parts);
    std::copy(positions.begin(), positions.end(), pass.input.positions.data_ptr<int64_t>());
    for (int64_t r = 0; r < std::ssize(positions); ++r) pass.wanted.push_back(r);
    const at::Tensor logits = executor.run(pass).logits;
    for (size_t i = 0; i < of.size(); ++i) {
      const int64_t begin = pass.input.boundaries[i];
      rows[of[i]].push_back(logits.narrow(0, begin, pass.input.length(static_cast<int64_t>(i))));
    }
  }
  std::vector<at::Tensor> all;
  for (const std::vector<at::Tensor>& document : rows) all.push_back(at::cat(document));
  return at::cat(all);
}

struct SpecCase {
  const char* name;
  std::function<void(ModelSpec&)> change;
};

template <class Change>
std::function<void(ModelSpec&)> in_blocks(Change change) {
  return [change](ModelSpec& spec) {
    for (BlockSpec& block : spec.blocks) change(block);
  };
}

Experts experts(const std::function<void(Experts&)>& change = [](Experts&) {}) {
  Experts spec = {.count = 5, .chosen = 2, .expert = {.width = 40}};
  change(spec);
  return spec;
}

// Attention, a convolution and experts in one model.
ModelSpec hybrid_spec() {
  ModelSpec spec = llama_spec();
  spec.blocks[0].mlp = experts([](Experts& e) { e.expert.biases = true; });
  spec.blocks[1].mixer = Convolve{.kernel = 4, .biases = true};
  return spec;
}

// Every field of a spec off its default: those of mixers, of MLPs, and the others. Whoever adds one
// adds its row.
std::vector<SpecCase> mixer_cases() {
  return {
      {"heads", in_blocks([](BlockSpec& b) { b.attend().heads = 4; })},
      {"kv_heads", in_blocks([](BlockSpec& b) { b.attend().kv_heads = 3; })},
      {"dim", in_blocks([](BlockSpec& b) { b.attend().dim = b.attend().rotary->dim = 12; })},
      {"window", [](ModelSpec& s) { s.blocks[1].attend().window = 7; }},
      {"scale", in_blocks([](BlockSpec& b) { b.attend().scale = 0.7; })},
      {"softcap", in_blocks([](BlockSpec& b) { b.attend().softcap = 0.8; })},
      {"no rotary", [](ModelSpec& s) { s.blocks[1].attend().rotary.reset(); }},
      {"rotary dim", in_blocks([](BlockSpec& b) { b.attend().rotary->dim = 8; })},
      {"rotary theta", [](ModelSpec& s) { s.blocks[2].attend().rotary->theta = 50; }},
      {"rotary scaling", in_blocks([](BlockSpec& b) {
         b.attend().rotary->scaling = {.kind = RopeKind::linear, .factor = 4};
       })},
      {"qk_norm head", in_blocks([](BlockSpec& b) { b.attend().qk_norm = QkNorm::head; })},
      {"qk_norm whole", in_blocks([](BlockSpec& b) { b.attend().qk_norm = QkNorm::whole; })},
      {"attention biases", in_blocks([](BlockSpec& b) { b.attend().biases = true; })},
      {"output bias", in_blocks([](BlockSpec& b) { b.attend().output_bias = true; })},
      {"convolution", [](ModelSpec& s) { s.blocks[1].mixer = Convolve{}; }},
      {"convolution of five tokens",
       in_blocks([](BlockSpec& b) { b.mixer = Convolve{.kernel = 5}; })},
      {"convolution biases",
       [](ModelSpec& s) { s.blocks[0].mixer = Convolve{.kernel = 2, .biases = true}; }},
  };
}

std::vector<SpecCase> mlp_cases() {
  return {
      {"width", in_blocks([](BlockSpec& b) { b.dense().width = 64; })},
      {"gelu", in_blocks([](BlockSpec& b) { b.dense().activation = Activation::gelu; })},
      {"gelu_tanh", in_blocks([](BlockSpec& b) { b.dense().activation = Activation::gelu_tanh; })},
      {"relu", in_blocks([](BlockSpec& b) { b.dense().activation = Activation::relu; })},
      {"not gated", in_blocks([](BlockSpec& b) { b.dense().gated = false; })},
      {"mlp biases", in_blocks([](BlockSpec& b) { b.dense().biases = true; })},
      {"mlp biases, not gated", in_blocks([](BlockSpec& b) {
         b.dense().biases = true;
         b.dense().gated = false;
       })},
      {"experts", [](ModelSpec& s) { s.blocks[1].mlp = experts(); }},
      {"experts by plain probabilities",
       [](ModelSpec& s) { s.blocks[1].mlp = experts([](Experts& e) { e.normalised = false; }); }},
      {"one expert of seven",
       [](ModelSpec& s) {
         s.blocks[1].mlp = experts([](Experts& e) { e.count = 7, e.chosen = 1; });
       }},
      {"experts with biases and no gate",
       [](ModelSpec& s) {
         s.blocks[1].mlp =
             experts([](Experts& e) { e.expert.gated = false, e.expert.biases = true; });
       }},
      {"experts beside a convolution, around",
       [](ModelSpec& s) {
         s.blocks[1] = {.placement = NormPlacement::around,
                        .parallel = true,
                        .mixer = Convolve{.kernel = 4},
                        .mlp = experts()};
       }},
  };
}

std::vector<SpecCase> other_cases() {
  return {
      {"centred", in_blocks([](BlockSpec& b) { b.norm.centred = true; })},
      {"plus_one", in_blocks([](BlockSpec& b) { b.norm.plus_one = true; })},
      {"epsilon", in_blocks([](BlockSpec& b) { b.norm.epsilon = 0.5; })},
      {"placement after", in_blocks([](BlockSpec& b) { b.placement = NormPlacement::after; })},
      {"placement around", in_blocks([](BlockSpec& b) { b.placement = NormPlacement::around; })},
      {"parallel", in_blocks([](BlockSpec& b) { b.parallel = true; })},
      {"parallel, around", in_blocks([](BlockSpec& b) {
         b.parallel = true;
         b.placement = NormPlacement::around;
       })},
      {"one layer of another shape",
       [](ModelSpec& s) {
         s.blocks[1].attend() = {.heads = 5, .kv_heads = 5, .dim = 10};
         s.blocks[1].dense() = {.width = 37, .activation = Activation::relu, .gated = false};
       }},
      {"embedding scale", [](ModelSpec& s) { s.embedding.scale = 3; }},
      {"learned positions", [](ModelSpec& s) { s.embedding.positions = 128; }},
      {"final norm centred", [](ModelSpec& s) { s.norm.centred = true; }},
      {"final norm epsilon", [](ModelSpec& s) { s.norm.epsilon = 0.5; }},
      {"final norm plus_one", [](ModelSpec& s) { s.norm.plus_one = true; }},
      {"tied head", [](ModelSpec& s) { s.head.tied = true; }},
      {"head softcap", [](ModelSpec& s) { s.head.softcap = 0.5; }},
  };
}

std::vector<SpecCase> spec_cases() {
  std::vector<SpecCase> all;
  for (const auto& cases : {mixer_cases(), mlp_cases(), other_cases()})
    all.insert(all.end(), cases.begin(), cases.end());
  return all;
}

TEST_F(CpuEngineTest, ComputesEveryFieldOfASpecAsTheModulesDo) {
  if (test::on_reference()) GTEST_SKIP() << "run once with the backend that it is of";
  const std::vector<std::vector<int64_t>> documents = {random_tokens(60, 61, 1),
                                                       random_tokens(17, 61, 2)};
  const auto plain = model_of(llama_spec());
  const at::Tensor ordinary = in_pieces(*make_executor(plain, {}), documents, 100);
  for (const auto& [name, change] : spec_cases()) {
    SCOPED_TRACE(name);
    ModelSpec spec = llama_spec();
    change(spec);
    ASSERT_FALSE(spec == llama_spec());
    const auto model = model_of(spec);
    ModuleExecutor modules(model, {});
    CpuEngine engine(model, {});
    const at::Tensor expected = in_pieces(modules, documents, 100);
    EXPECT_GT(expected.abs().max().item<double>(), 0.3);
    EXPECT_GT(max_difference(expected, ordinary), 1e-3) << "the field does nothing";
    EXPECT_LT(max_difference(in_pieces(engine, documents, 100), expected), 3e-4);
    EXPECT_LT(max_difference(in_pieces(engine, documents, 1), expected), 3e-4);
    CpuEngine narrow(model, {.weights = WeightFormat::q8});
    const double size = expected.square().mean().sqrt().item<double>();
    const double off =
        (in_pieces(narrow, documents, 9) - expected).square().mean().sqrt().item<double>();
    EXPECT_LT(off, 0.15 * size) << "another model is 1 away";
    EXPECT_GT(off, 1e-6 * size) << "q8 is no float32";
  }
}

struct FormatCase {
  WeightFormat weights;
  KVFormat cache;
};
constexpr FormatCase kFormatCases[] = {{WeightFormat::f32, KVFormat::f32},
                                       {WeightFormat::f32, KVFormat::q8},
                                       {WeightFormat::bf16, KVFormat::bf16},
                                       {WeightFormat::q8, KVFormat::f32},
                                       {WeightFormat::q4, KVFormat::q8}};

TEST_F(CpuEngineTest, TokensTogetherGiveTheBitsOfTokensOneByOne) {
  if (test::on_reference()) GTEST_SKIP() << "run once with the backend that it is of";
  const std::vector<std::vector<int64_t>> tokens = {random_tokens(700, 61, 2)};  // three pages
  ModelSpec spec = llama_spec();
  spec.blocks[1].attend().window = 300;
  spec.blocks[2].placement = NormPlacement::around;
  spec.blocks[2].attend().softcap = 2;
  for (const auto& model : {model_of(spec), model_of(hybrid_spec())}) {
    for (const auto& [weights, kept] : kFormatCases) {
      SCOPED_TRACE(testing::Message() << name(weights) << " " << static_cast<int>(kept));
      CpuEngine engine(model, {.weights = weights, .cache = kept});
      const at::Tensor single = in_pieces(engine, tokens, 1);
      for (const int64_t piece : {7, 48, 512, 700})
        EXPECT_TRUE(at::equal(in_pieces(engine, tokens, piece), single)) << piece << " a pass";
      for (const int threads : {1, 3}) {
        const test::Threads some(threads);
        EXPECT_TRUE(at::equal(in_pieces(engine, tokens, 48), single)) << threads << " threads";
      }
    }
  }
}

TEST_F(CpuEngineTest, AnyNumberOfSequencesHaveTheBitsOfOneAlone) {
  if (test::on_reference()) GTEST_SKIP() << "run once with the backend that it is of";
  std::vector<std::vector<int64_t>> documents;
  for (int64_t i = 0; i < 200; ++i) documents.push_back(random_tokens(3 + i % 4, 61, i));
  for (const auto& model : {model_of(llama_spec()), model_of(hybrid_spec())}) {
    for (const auto& [weights, kept] : kFormatCases) {
      CpuEngine engine(model, {.weights = weights, .cache = kept});
      std::vector<at::Tensor> alone;
      for (const auto& document : documents) alone.push_back(in_pieces(engine, {document}, 100));
      for (const int64_t count : {2, 9, 65, 200}) {
        const std::vector some(documents.begin(), documents.begin() + count);
        const std::vector apart(alone.begin(), alone.begin() + count);
        for (const int64_t piece : {1, 100}) {
          EXPECT_TRUE(at::equal(in_pieces(engine, some, piece), at::cat(apart)))
              << name(weights) << ", " << count << " sequences, " << piece << " tokens a pass";
        }
      }
    }
  }
}

TEST_F(CpuEngineTest, AdaptersAreLowRankRowsOfTheirDocuments) {
  std::vector<ModelSpec> specs = {llama_spec(), llama_spec(), hybrid_spec()};
  for (BlockSpec& block : specs[0].blocks) block.attend().biases = block.dense().biases = true;
  for (BlockSpec& block : specs[1].blocks) block.dense().gated = false;
  for (const ModelSpec& spec : specs) {
    const auto model = model_of(spec);
    ModuleExecutor modules(model, {});
    CpuEngine engine(model, {});
    std::vector<int64_t> ids;
    for (const auto& [every, dora] : {std::pair{true, false}, {false, true}}) {
      const AdapterWeights adapter = adapter_of(*model, 10, every, dora);
      ids.push_back(engine.add_adapter(adapter));
      EXPECT_EQ(modules.add_adapter(adapter), ids.back());
    }
    const std::vector<std::vector<int64_t>> documents = {
        random_tokens(30, 61, 1), random_tokens(30, 61, 1), random_tokens(30, 61, 1),
        random_tokens(5, 61, 2)};
    const std::vector<int64_t> chosen = {ids[0], kNoAdapter, ids[1], ids[0]};
    const at::Tensor found = in_pieces(engine, documents, 40, chosen);
    EXPECT_LT(max_difference(found, in_pieces(modules, documents, 40, chosen)), 5e-4);
    EXPECT_GT(max_difference(found.narrow(0, 0, 30), found.narrow(0, 30, 30)), 0.1);
    EXPECT_GT(max_difference(found.narrow(0, 0, 30), found.narrow(0, 60, 30)), 0.1);
    EXPECT_TRUE(at::equal(found.narrow(0, 30, 30), in_pieces(engine, {documents[1]}, 1)))
        << "the adapters of others change no bit";
    EXPECT_TRUE(at::equal(found.narrow(0, 90, 5), in_pieces(engine, {documents[3]}, 1, {ids[0]})));
    EXPECT_TRUE(at::equal(found, in_pieces(engine, documents, 1, chosen)));
    const test::Threads three(3);
    EXPECT_TRUE(at::equal(found, in_pieces(engine, documents, 3, chosen)));
  }
}

TEST_F(CpuEngineTest, HugePassesAreThoseOfTheirParts) {
  if (test::on_reference()) GTEST_SKIP() << "run once with the backend that it is of";
  const auto model = model_of(llama_spec());
  CpuEngine engine(model, {});
  std::vector<std::vector<int64_t>> documents;
  for (const int64_t length : {900, 5, 1300, 300})
    documents.push_back(random_tokens(length, 61, length));
  EXPECT_TRUE(at::equal(in_pieces(engine, documents, 2000), in_pieces(engine, documents, 100)));
}

TEST_F(CpuEngineTest, ForkedAndTruncatedSequencesGoOnAsIfComputedAlone) {
  for (const ModelSpec& spec : {llama_spec(), hybrid_spec()}) {
    const auto executor = make_executor(model_of(spec), {});
    const auto run = [&](KVCache& cache, int64_t sequence, const std::vector<int64_t>& tokens) {
      Pass pass = {.input = ragged({tokens}, cache.length(sequence)),
                   .cache = cache,
                   .sequences = {sequence}};
      for (int64_t i = 0; i < std::ssize(tokens); ++i) pass.wanted.push_back(i);
      return executor->run(pass).logits;
    };
    const auto cache = executor->make_cache();
    const std::vector<int64_t> prompt = random_tokens(300, 61, 3), end = random_tokens(20, 61, 4);
    const int64_t first = cache->add();
    run(*cache, first, prompt);
    const int64_t second = cache->fork(first), third = cache->fork(first);
    run(*cache, first, random_tokens(20, 61, 5));
    const at::Tensor forked = run(*cache, second, end);
    ASSERT_EQ(cache->truncate(first, 290), 290);
    const std::vector<int64_t> rest(prompt.begin() + 290, prompt.end());
    run(*cache, first, rest);
    const auto same = [&](const at::Tensor& logits) {
      return test::on_reference() ? max_difference(logits, forked) < 3e-4
                                  : at::equal(logits, forked);
    };
    EXPECT_TRUE(same(run(*cache, first, end)));
    const int64_t fresh = cache->add();
    run(*cache, fresh, prompt);
    EXPECT_TRUE(same(run(*cache, fresh, end)));
    // A state's inputs are not kept for ever.
    const bool keys_alone = std::holds_alternative<Attend>(spec.blocks[1].mixer);
    const auto held = static_cast<size_t>(cache->truncate(third, 100));
    EXPECT_EQ(held, keys_alone ? 100u : 0u);
    run(*cache, third, {prompt.begin() + static_cast<int64_t>(held), prompt.end()});
    EXPECT_TRUE(same(run(*cache, third, end)));
    const int64_t bytes = cache->bytes();
    cache->remove(third);
    EXPECT_LT(cache->bytes(), bytes);
    for (const int64_t id : {first, second, fresh}) cache->remove(id);
    EXPECT_EQ(cache->bytes(), 0);
  }
}

TEST_F(CpuEngineTest, NarrowCachesStayNearTheWideOne) {
  const auto model = model_of(llama_spec());
  const std::vector<std::vector<int64_t>> tokens = {random_tokens(300, 61, 3)};
  CpuEngine wide(model, {});
  const at::Tensor expected = in_pieces(wide, tokens, 64);
  const double size = expected.square().mean().sqrt().item<double>();
  for (const auto& [format, share] : {std::pair{KVFormat::bf16, 0.02}, {KVFormat::q8, 0.04}}) {
    CpuEngine narrow(model, {.cache = format});
    const double off =
        (in_pieces(narrow, tokens, 64) - expected).square().mean().sqrt().item<double>();
    EXPECT_LT(off, share * size);
    EXPECT_GT(off, 1e-6 * size) << "was it narrow at all?";
  }
}

// Each matrix in panels of 32 outputs whose inputs are padded to a multiple of 32.
int64_t bytes_of_panels(const ModelSpec& spec, WeightFormat format) {
  const auto bytes_in = [](int64_t out, int64_t in, WeightFormat held) {
    const int64_t panels = (out + 31) / 32, inputs = (in + 31) / 32 * 32;
    switch (held) {
      case WeightFormat::f32:
      case WeightFormat::blocks:
        return panels * 32 * inputs * 4;
      case WeightFormat::bf16:
        return panels * 32 * inputs * 2;
      case WeightFormat::q8:
        return panels * 32 * (inputs + inputs / 32 * 2);
      case WeightFormat::q4:
        return panels * 32 * (inputs / 2 + inputs / 32 * 4);
    }
    return int64_t{0};
  };
  const auto bytes = [&](int64_t out, int64_t in) { return bytes_in(out, in, format); };
  const int64_t hidden = spec.embedding.hidden;
  // The head and the embedding, which are one, keep eight bits where the others have four.
  int64_t sum = bytes_in(spec.embedding.vocabulary, hidden,
                         format == WeightFormat::q4 ? WeightFormat::q8 : format);
  for (const BlockSpec& block : spec.blocks) {
    const Attend& a = block.attend();
    const int64_t attended = a.heads * a.dim, qkv = attended + 2 * a.kv_heads * a.dim;
    // Gate and up share panels, 16 rows of each.
    const int64_t gate_up = (block.dense().width + 15) / 16 * 32;
    sum += bytes(qkv, hidden) + bytes(hidden, attended) + bytes(gate_up, hidden) +
           bytes(hidden, block.dense().width);
  }
  return sum;
}

TEST_F(CpuEngineTest, CountsTheBytesThatAPassReads) {
  const auto model = model_of(llama_spec());
  for (const WeightFormat format :
       {WeightFormat::f32, WeightFormat::bf16, WeightFormat::q8, WeightFormat::q4}) {
    const int64_t found = CpuEngine(model, {.weights = format}).weight_bytes(),
                  plain = bytes_of_panels(model->spec(), format);
    if (is_quantised(format) || !kernels().packed.compresses) {
      EXPECT_EQ(found, plain) << name(format);
      continue;
    }
    EXPECT_LT(found, plain * 15 / 16) << name(format);
    EXPECT_GT(found, plain * 3 / 4) << name(format);
  }
}

TEST_F(CpuEngineTest, BlocksOfAModelThatHoldsNoneAreFloat32) {
  const CpuEngine engine(model_of(llama_spec()), {.weights = WeightFormat::blocks});
  EXPECT_EQ(engine.options().weights, WeightFormat::f32);
  EXPECT_EQ(engine.options().cache, std::nullopt);
  EXPECT_EQ(cache_format(engine.options()), KVFormat::f32);
}

TEST_F(CpuEngineTest, HandsOutTheMatricesThatItServes) {
  const c10::NoGradGuard no_grad;
  const auto model = model_of(llama_spec());
  const ModelWeights weights = model->weights();
  for (const WeightFormat format :
       {WeightFormat::f32, WeightFormat::bf16, WeightFormat::q8, WeightFormat::q4}) {
    SCOPED_TRACE(name(format));
    const CpuEngine engine(model, {.weights = format});
    const auto expect_held = [&](const WeightMatrix& found, const WeightMatrix& given,
                                 WeightFormat held) {
      PanelArena arena(packed_bytes(held, PanelRows({given})));
      const at::Tensor alone = unpack(pack(arena, held, PanelRows({given})), given.out());
      EXPECT_TRUE(found.rows(0, found.out()).equal(alone));
      const int64_t middle = found.out() / 2 + 1;
      EXPECT_TRUE(found.rows(middle - 1, middle).equal(alone.narrow(0, middle - 1, 1)));
      EXPECT_TRUE(found.rows(3, middle).equal(alone.narrow(0, 3, middle - 3)));
    };
    for (const auto& [place, linear] : weights.matrices)
      expect_held(engine.matrix(place), linear.weight, format);
    expect_held(engine.head_matrix(), weights.head,
                format == WeightFormat::q4 ? WeightFormat::q8 : format);
  }
}

TEST_F(CpuEngineTest, SeesChangedWeightsAfterARefresh) {
  const c10::NoGradGuard no_grad;
  const auto model = model_of(llama_spec());
  const std::vector<std::vector<int64_t>> tokens = {random_tokens(20, 61, 4)};
  CpuEngine engine(model, {});
  const at::Tensor before = in_pieces(engine, tokens, 20);
  for (at::Tensor& p : model->parameters()) p.mul_(1.1);
  engine.refresh();
  const at::Tensor after = in_pieces(engine, tokens, 20);
  EXPECT_GT(max_difference(before, after), 1e-2);
  EXPECT_TRUE(at::equal(
      after, in_pieces(*std::make_unique<CpuEngine>(model, ExecutorOptions{}), tokens, 20)));
  model->named_parameters()["norm.weight"].mul_(2);  // a norm alone
  engine.refresh();
  EXPECT_TRUE(
      at::equal(in_pieces(engine, tokens, 20),
                in_pieces(*std::make_unique<CpuEngine>(model, ExecutorOptions{}), tokens, 20)));
}

TEST_F(CpuEngineTest, IsEvaluatedAsADecoder) {
  const c10::NoGradGuard no_grad;
  const auto model = model_of(llama_spec());
  const RaggedInput input = ragged({random_tokens(9, 61, 1), random_tokens(30, 61, 2)});
  const at::Tensor expected = model->logits(model->forward(input));
  ServedDecoder exact(make_executor(model, {}));
  EXPECT_LT(max_difference(exact.logits(exact.forward(input)), expected), 2e-4);
  ServedDecoder narrow(
      std::make_unique<CpuEngine>(model, ExecutorOptions{.weights = WeightFormat::q4}));
  const at::Tensor hidden = narrow.forward(input);
  CpuEngine engine(model, {.weights = WeightFormat::q4});
  const at::Tensor served =
      in_pieces(engine, {random_tokens(9, 61, 1), random_tokens(30, 61, 2)}, 50);
  // The evaluated head holds the weights that the engine's products see; those round what they
  // multiply them with, too.
  EXPECT_LT(max_difference(narrow.logits(hidden), served), 0.05);
  EXPECT_GT(max_difference(narrow.logits(hidden), expected), 0.05);
}

TEST_F(CpuEngineTest, PassesThatCannotBeAreErrors) {
  const auto model = model_of(llama_spec());
  CpuEngine engine(model, {});
  ModuleExecutor modules(model, {});
  const auto foreign = modules.make_cache();
  Pass pass = {.input = ragged({{1, 2}}), .cache = *foreign, .sequences = {foreign->add()}};
  test::expect_error([&] { engine.run(pass); }, {"another executor"});
  const auto own = engine.make_cache();
  Pass unequal = {.input = ragged({{1, 2}}), .cache = *own, .sequences = {}};
  test::expect_error([&] { engine.run(unequal); }, {"0 cached sequences for 1 documents"});
  ModelSpec spec = llama_spec();
  spec.embedding.positions = 10;
  CpuEngine positioned(model_of(spec), {});
  const auto cache = positioned.make_cache();
  Pass longer = {
      .input = ragged({random_tokens(11, 61, 1)}), .cache = *cache, .sequences = {cache->add()}};
  test::expect_error([&] { positioned.run(longer); }, {"11 tokens", "10 learned positions"});
  EXPECT_EQ(cache->length(0), 0);
}

}  // namespace
}  // namespace continuo
