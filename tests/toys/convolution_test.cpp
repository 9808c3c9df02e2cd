// A convolution as a mixer, beside attention: a state where keys and values were. It trains on
// packed documents, generates, and goes back as far as its state reaches.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/normal.h>
#include <gtest/gtest.h>

#include "generate/cached_decoder.h"
#include "generate/generator.h"
#include "nn/executor.h"
#include "support/backend.h"
#include "support/generation_of.h"
#include "support/naive_generator.h"
#include "support/row_fixture.h"
#include "support/tiny_model.h"
#include "toys/fit.h"

namespace continuo::test {
namespace {

ModelSpec convolution_spec() {
  ModelSpec spec = tiny_spec();
  spec.blocks.push_back(spec.blocks[0]);
  spec.blocks[0].mixer = Convolve{.kernel = 4};
  spec.blocks[2].mixer = Convolve{.kernel = 3, .biases = true};
  return spec;
}

TEST(ToyConvolution, IsTheFormulaTokenByToken) {
  at::Generator generator = at::detail::createCPUGenerator(3);
  const at::Tensor x = at::normal(0.0, 1.0, {11, 5}, generator),
                   weight = at::normal(0.0, 1.0, {5, 4}, generator);
  const std::vector<int64_t> boundaries{0, 2, 3, 11};
  const at::Tensor y = ragged_convolution(x, weight, boundaries);
  for (size_t d = 0; d + 1 < boundaries.size(); ++d) {
    for (int64_t t = boundaries[d]; t < boundaries[d + 1]; ++t) {
      for (int64_t c = 0; c < 5; ++c) {
        double sum = 0;
        for (int64_t j = 0; j < 4; ++j) {
          if (t - 3 + j >= boundaries[d])
            sum += weight[c][j].item<double>() * x[t - 3 + j][c].item<double>();
        }
        EXPECT_NEAR(y[t][c].item<double>(), sum, 1e-5) << t << " " << c;
      }
    }
  }
}

TEST(ToyConvolution, PackedDocumentsAreThoseAlone) {
  const auto model = tiny_model(convolution_spec());
  const c10::NoGradGuard no_grad;
  std::vector<std::vector<int64_t>> documents;
  std::vector<at::Tensor> alone;
  for (const int64_t length : {1, 2, 3, 17, 5}) {
    documents.push_back(random_tokens(length, 61, length));
    alone.push_back(model->forward(ragged({documents.back()})));
  }
  EXPECT_LT(max_difference(model->forward(ragged(documents)), at::cat(alone)), 1e-5);
}

// Each document names what comes three tokens later by its first one.
const std::vector<std::vector<TokenId>> kDistant = {
    {5, 9, 9, 15, 9, 9, 25}, {6, 9, 9, 16, 9, 9, 26}, {7, 9, 9, 17}, {8, 9, 9, 18, 9, 9, 28, 9, 9}};

TEST(ToyConvolution, Learns) {
  for (const bool recompute : {false, true}) {
    const auto model = tiny_model(convolution_spec());
    model->set_compute({.recompute = recompute});
    const std::vector<double> losses = fit(*model, kDistant, 40);
    EXPECT_LT(losses.back(), 0.05 * losses.front());
  }
}

std::vector<TokenId> ids_of(const Completion& completion) {
  std::vector<TokenId> ids;
  for (const GeneratedToken& token : completion.tokens) ids.push_back(token.id);
  return ids;
}

TEST(ToyConvolution, GeneratesWhatTheModulesSayWithDraftsAndWithout) {
  const Threads one(1);
  const auto model = tiny_model(convolution_spec());
  fit(*model, kDistant, 40);
  const Vocabulary vocabulary = small_vocabulary(61);
  const std::vector<std::vector<TokenId>> prompts = {
      {5}, {6, 9}, {8, 9, 9, 18, 9, 9, 28, 9}, {7, 9, 9, 17, 9, 9, 17, 9, 9}};
  for (const char* settings :
       {"sampler: [greedy]", "sampler: [{temperature: 1}], samples: 2, prefill_chunk: 3"}) {
    for (const char* draft : {"none", "lookup"}) {
      const GenerationConfig config = generation_of(fmt::format(
          "{{max_new_tokens: 30, ignore_eos: true, seed: 4, draft: {}, {}}}", draft, settings));
      const auto executor = make_executor(model, {});
      Generator generator(*executor, vocabulary, config);
      for (const Completion& c : generator.generate(prompts).completions) {
        EXPECT_EQ(ids_of(c),
                  naive_generate(static_cast<Decoder&>(*model), vocabulary, config,
                                 prompts[static_cast<size_t>(c.prompt)],
                                 static_cast<uint64_t>(c.prompt), static_cast<uint64_t>(c.sample)))
            << draft << " " << settings;
      }
    }
  }
}

// A new sequence takes over what it shares with a held one as far as the state reaches back, and
// otherwise begins anew; its logits are the same either way.
TEST(ToyConvolution, SharedPrefixesChangeNothing) {
  const auto model = tiny_model(convolution_spec());
  const auto executor = make_executor(model, {});
  const std::vector<int64_t> wide = random_tokens(100, 61, 8);
  const std::vector<TokenId> tokens(wide.begin(), wide.end());
  const auto logits = [&](CachedDecoder& decoder, std::span<const TokenId> prompt) {
    const int64_t sequence = decoder.begin(prompt);
    const auto held = static_cast<size_t>(decoder.length(sequence));
    const size_t last = prompt.size() - 1;
    decoder.append(sequence, prompt.subspan(held, last - held), 16);
    return std::pair(
        held, decoder.run(std::vector<CachedDecoder::Piece>{{sequence, prompt.subspan(last)}}));
  };
  for (const auto& [shared, expected] : {std::pair<size_t, size_t>{95, 95}, {50, 0}}) {
    CachedDecoder decoder(*executor, /*keeps=*/2), fresh(*executor, /*keeps=*/0);
    logits(decoder, tokens);
    std::vector<TokenId> other(tokens.begin(), tokens.begin() + static_cast<long>(shared));
    other.push_back(3), other.push_back(4);
    const auto [held, found] = logits(decoder, other);
    EXPECT_EQ(held, expected);
    EXPECT_LT(max_difference(found, logits(fresh, other).second), on_reference() ? 1e-4 : 1e-30);
  }
}

}  // namespace
}  // namespace continuo::test
