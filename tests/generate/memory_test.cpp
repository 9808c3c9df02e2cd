// Of a long generation only the cache of keys and values and the result itself may grow: live heap
// bytes along 8,000 tokens.
#include <memory>

#include <malloc.h>

#include "generate/generator.h"
#include "nn/transformer.h"
#include "support/backend.h"
#include "support/row_fixture.h"

namespace continuo::test {
namespace {

constexpr int64_t kPrompt = 16, kFrom = 1000, kTo = 8000;

// Bytes that are allocated and not freed, in all arenas.
double live_bytes() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<double>(info.uordblks) + static_cast<double>(info.hblkhd);
}

ModelSpec long_context() {
  const BlockSpec block = {
      .mixer = Attend{.heads = 4, .kv_heads = 1, .dim = 8, .rotary = Rotary{.dim = 8}},
      .mlp = Dense{.width = 32}};
  return {
      .context = 8192, .embedding = {.vocabulary = 300, .hidden = 32}, .blocks = {block, block}};
}

// Keys (of 8 floats) and values (padded to 16) of a token in both layers. The cache grows by pages
// of at most 256 tokens: between these two lengths by 1.01 tokens for every token.
constexpr double kCacheBytes = 1.05 * 2 * (8 + 16) * sizeof(float);
// The token with its log-probabilities and its id in the history, both in vectors that double, and
// a byte or two of text.
constexpr double kResultBytes = 2 * (sizeof(GeneratedToken) + sizeof(TokenId)) + 16;

// Bytes by which the heap grows with every token, measured while `each` is called for every one.
double growth_per_token(const std::string& sampler, const std::function<void()>& each = [] {}) {
  const auto model = std::make_shared<Transformer>(long_context());
  model->initialise(1);
  const auto executor = make_executor(model, {});
  GenerationConfig config;
  config.max_new_tokens = kTo;
  config.ignore_eos = true;
  config.stop = {"never seen"};
  config.sampler = parse_yaml(sampler, "test.yaml");
  Generator generator(*executor, small_vocabulary(300), config);
  const std::vector<std::vector<TokenId>> prompts{std::vector<TokenId>(kPrompt, 5)};
  double at_from = 0, at_to = 0;
  for (int run = 0; run < 2;
       ++run) {  // the first one fills what is kept for good, such as tables of positions
    generator.generate(prompts, [&](const Completion& so_far, std::string_view) {
      each();
      if (std::ssize(so_far.tokens) == kFrom) at_from = live_bytes();
      if (std::ssize(so_far.tokens) == kTo) at_to = live_bytes();
    });
  }
  return (at_to - at_from) / (kTo - kFrom);
}

class Memory : public testing::Test {
 protected:
  void SetUp() override {
    const double before = live_bytes();
    const std::vector<char> block(1 << 20);
    if (live_bytes() - before < (1 << 20))
      GTEST_SKIP() << "this allocator does not count (a sanitizer's?)";
  }
};

TEST_F(Memory, OnlyTheCacheAndTheResultGrow) {
  if (test::on_reference()) GTEST_SKIP() << "it would take minutes, and measures the same";
  EXPECT_LT(growth_per_token("[{top_k: 50}, {top_p: 0.9}, {temperature: 0.8}]"),
            kCacheBytes + kResultBytes);
}

TEST_F(Memory, StagesRememberTheHistoryOnceAtMost) {
  if (test::on_reference()) GTEST_SKIP() << "it would take minutes, and measures the same";
  // Each of three counting penalties keeps the ids that it has counted.
  EXPECT_LT(growth_per_token(
                "[{repetition: 1.1}, {frequency: 0.1}, {presence: 0.1}, dry, {mirostat: 4}]"),
            kCacheBytes + kResultBytes + 3 * 2 * sizeof(TokenId) + 16);
}

TEST_F(Memory, TheTestWouldSeeALeak) {
  if (test::on_reference()) GTEST_SKIP() << "it would take minutes, and measures the same";
  // The negative control: 25 floats that stay with every token, of a vocabulary of 300.
  std::vector<std::vector<float>> leak;
  EXPECT_GT(growth_per_token("[greedy]", [&] { leak.emplace_back(25); }),
            kCacheBytes + kResultBytes);
}

}  // namespace
}  // namespace continuo::test
