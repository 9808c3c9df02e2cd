#include "generate/cached_decoder.h"

#include <algorithm>
#include <cmath>

#include <ATen/ops/linspace.h>
#include <gtest/gtest.h>

#include "generate/fake_executor.h"
#include "nn/transformer.h"
#include "support/backend.h"
#include "support/tiny_model.h"

namespace continuo::test {
namespace {

using Ids = std::vector<TokenId>;

LogitsFunction twelve() { return hashed_logits(12); }

// One row of logits.
std::vector<float> row_at(const at::Tensor& logits, int64_t row) {
  const float* values = logits.const_data_ptr<float>() + row * logits.size(1);
  return {values, values + logits.size(1)};
}

std::vector<float> last_row(const at::Tensor& logits) { return row_at(logits, logits.size(0) - 1); }

// Appends tokens, at most `chunk` a pass → the logits after the last of them.
at::Tensor prefill(CachedDecoder& decoder, int64_t sequence, std::span<const TokenId> tokens,
                   int64_t chunk) {
  const size_t last = (tokens.size() - 1) % static_cast<size_t>(chunk) + 1;
  decoder.append(sequence, tokens.first(tokens.size() - last), chunk);
  return decoder.run(std::vector<CachedDecoder::Piece>{{sequence, tokens.last(last)}});
}

// What a sequence lacks of `tokens`, and the logits after them.
at::Tensor complete(CachedDecoder& decoder, int64_t sequence, std::span<const TokenId> tokens) {
  return prefill(decoder, sequence, tokens.subspan(static_cast<size_t>(decoder.length(sequence))),
                 8);
}

TEST(CachedDecoder, AppendsPiecesOfSeveralSequences) {
  FakeExecutor fake(12, 40, twelve());
  CachedDecoder decoder(fake);
  const Ids a{1, 2, 3, 4, 5}, b{6, 7};
  const int64_t first = decoder.begin(a), second = decoder.begin(b);
  EXPECT_EQ(decoder.length(first), 0);
  decoder.append(first, std::span(a).first(3), 2);
  EXPECT_EQ(fake.forwards, 2);
  const std::vector<CachedDecoder::Piece> pieces{{first, std::span(a).subspan(3)}, {second, b, 2}};
  const at::Tensor logits = decoder.run(pieces);
  EXPECT_EQ(fake.largest_input, 4);
  ASSERT_EQ(logits.size(0), 3);
  EXPECT_EQ(row_at(logits, 0), twelve()(a));
  EXPECT_EQ(row_at(logits, 1), twelve()(std::span(b).first(1)));
  EXPECT_EQ(row_at(logits, 2), twelve()(b));
  EXPECT_EQ(decoder.length(first), 5);
  EXPECT_EQ(decoder.truncate(first, 2), 2);
  const Ids other{1, 2, 9};
  EXPECT_EQ(last_row(prefill(decoder, first, std::span(other).subspan(2), 8)), twelve()(other));
}

TEST(CachedDecoder, PrefillsInChunksAndGivesTheLastLogits) {
  const Ids tokens{1, 2, 3, 4, 5, 6, 7};
  for (const int64_t chunk : {1, 2, 3, 6, 7, 9}) {
    FakeExecutor fake(12, 40, twelve());
    CachedDecoder decoder(fake);
    const at::Tensor logits = prefill(decoder, decoder.begin(tokens), tokens, chunk);
    ASSERT_EQ(logits.size(0), 1);
    EXPECT_EQ(last_row(logits), twelve()(tokens)) << chunk;
    EXPECT_EQ(fake.forwards, (7 + chunk - 1) / chunk);
    EXPECT_LE(fake.largest_input, chunk);
  }
}

TEST(CachedDecoder, ForksGoTheirOwnWays) {
  FakeExecutor fake(12, 40, twelve());
  CachedDecoder decoder(fake);
  const Ids shared{1, 2, 3}, left{1, 2, 3, 4, 5}, right{1, 2, 3, 9};
  const int64_t first = decoder.begin(shared);
  decoder.append(first, shared, 8);
  const int64_t second = decoder.fork(first);
  EXPECT_EQ(decoder.length(second), 3);
  EXPECT_EQ(last_row(prefill(decoder, first, std::span(left).subspan(3), 8)), twelve()(left));
  EXPECT_EQ(last_row(prefill(decoder, second, std::span(right).subspan(3), 8)), twelve()(right));
  decoder.drop(first);
  EXPECT_EQ(decoder.bytes(), 4);
}

TEST(CachedDecoder, KeepsTheLastSequenceWhenAskedTo) {
  FakeExecutor fake(12, 40, twelve());
  CachedDecoder decoder(fake, /*keeps=*/1);
  const Ids first{1, 2, 3, 4};
  const int64_t id = decoder.begin(first);
  decoder.append(id, std::span(first).first(3), 8);
  decoder.end(id);
  const Ids second{1, 2, 9};
  const int64_t again = decoder.begin(second);
  EXPECT_EQ(decoder.length(again), 2);
  EXPECT_EQ(last_row(prefill(decoder, again, std::span(second).subspan(2), 8)), twelve()(second));
  // Any number may begin with it.
  EXPECT_EQ(decoder.length(decoder.begin(second)), 2);
  decoder.end(again);
  EXPECT_EQ(decoder.length(decoder.begin(second)),
            2);  // the logits after its last token are yet to be asked for
}

TEST(CachedDecoder, ForgetsWhatSharesNothing) {
  FakeExecutor fake(12, 40, twelve());
  for (const int64_t keeps : {0, 1}) {
    CachedDecoder decoder(fake, keeps);
    const Ids first{1, 2, 3}, second{2, 3};
    const int64_t id = decoder.begin(first);
    decoder.append(id, first, 8);
    decoder.end(id);
    EXPECT_EQ(decoder.bytes(), 3 * keeps);
    const int64_t other = decoder.begin(second);
    EXPECT_EQ(decoder.length(other), 0);
    decoder.append(other, second, 8);
    decoder.end(other);
    EXPECT_EQ(decoder.bytes(), 2 * keeps) << "the one that ended last";
  }
}

TEST(CachedDecoder, TruncationSaysWhatIsLeft) {
  FakeExecutor fake(12, 40, twelve());
  fake.forgetful = true;
  CachedDecoder decoder(fake, /*keeps=*/1);
  const Ids tokens{1, 2, 3, 4, 5, 6, 7, 8};
  const int64_t id = decoder.begin(tokens);
  decoder.append(id, tokens, 8);
  EXPECT_EQ(decoder.truncate(id, 8), 8);
  EXPECT_EQ(decoder.truncate(id, 6), 3);
  EXPECT_EQ(decoder.length(id), 3);
  decoder.append(id, std::span(tokens).subspan(3), 8);
  decoder.end(id);  // 3 of them are left
  const int64_t again = decoder.begin(tokens);
  EXPECT_EQ(decoder.length(again), 3);
  EXPECT_EQ(last_row(prefill(decoder, again, std::span(tokens).subspan(3), 8)), twelve()(tokens));
}

// Logits as FakeExecutor's adapter of this id makes them.
std::vector<float> adapted(std::span<const TokenId> history, int64_t adapter) {
  std::vector<float> logits = twelve()(history);
  std::rotate(logits.begin(), logits.begin() + (adapter - kNoAdapter), logits.end());
  return logits;
}

TEST(CachedDecoder, SequencesKeepTheirAdapter) {
  FakeExecutor fake(12, 40, twelve());
  const int64_t one = fake.add_adapter({}), two = fake.add_adapter({});
  CachedDecoder decoder(fake);
  const Ids tokens{1, 2, 3}, more{1, 2, 3, 4};
  const int64_t adapters[] = {kNoAdapter, one, two, one};
  std::vector<int64_t> sequences;
  for (const int64_t adapter : adapters) sequences.push_back(decoder.begin(tokens, adapter));
  std::vector<CachedDecoder::Piece> pieces;
  for (const int64_t sequence : sequences) pieces.push_back({sequence, tokens});
  const at::Tensor logits = decoder.run(pieces);
  for (size_t i = 0; i < sequences.size(); ++i) {
    EXPECT_EQ(row_at(logits, static_cast<int64_t>(i)), adapted(tokens, adapters[i])) << i;
    const int64_t copy = decoder.fork(sequences[i]);
    EXPECT_EQ(last_row(prefill(decoder, copy, std::span(more).subspan(3), 8)),
              adapted(more, adapters[i]))
        << i;
  }
  // An id that is given out again belongs to its new adapter.
  decoder.drop(sequences[1]);
  const int64_t next = decoder.begin(tokens, two);
  EXPECT_EQ(next, sequences[1]);
  EXPECT_EQ(decoder.length(next), 2) << "as much of the other one with this adapter";
  EXPECT_EQ(last_row(complete(decoder, next, tokens)), adapted(tokens, two));
  decoder.drop(next);
  EXPECT_EQ(last_row(prefill(decoder, decoder.fork(sequences[0]), std::span(more).subspan(3), 8)),
            adapted(more, kNoAdapter));
}

TEST(CachedDecoder, AKeptSequenceOfAnotherAdapterIsNotReused) {
  FakeExecutor fake(12, 40, twelve());
  const int64_t one = fake.add_adapter({}), two = fake.add_adapter({});
  const Ids tokens{1, 2, 3, 4};
  for (const int64_t before : {kNoAdapter, one, two}) {
    for (const int64_t after : {kNoAdapter, one, two}) {
      CachedDecoder decoder(fake, /*keeps=*/1);
      const int64_t id = decoder.begin(tokens, before);
      decoder.append(id, tokens, 8);
      decoder.end(id);
      const int64_t again = decoder.begin(tokens, after);
      EXPECT_EQ(decoder.length(again), before == after ? 3 : 0);
      EXPECT_EQ(decoder.bytes(), before == after ? 4 + 3 : 4);
      const auto held = static_cast<size_t>(decoder.length(again));
      EXPECT_EQ(last_row(prefill(decoder, again, std::span(tokens).subspan(held), 8)),
                adapted(tokens, after));
    }
  }
}

// The same with an adapter that changes the computation.
TEST(CachedDecoder, AdaptersOfARealModelStayWithTheirSequences) {
  const auto model = tiny_model();
  const auto executor = make_executor(model, {});
  AdapterWeights weights;
  const int64_t hidden = model->spec().embedding.hidden;
  for (int64_t block = 0; block < model->spec().layers(); ++block) {
    for (const Matrix matrix : {Matrix::query, Matrix::output}) {
      const double scale = matrix == Matrix::query ? 0.5 : 0.25;
      weights[{block, matrix}] = {.a = at::linspace(-scale, scale, 3 * hidden).view({3, hidden}),
                                  .b = at::linspace(scale, -scale, hidden * 3).view({hidden, 3})};
    }
  }
  const int64_t adapter = executor->add_adapter(weights);
  CachedDecoder decoder(*executor, /*keeps=*/1);
  const Ids tokens{1, 2, 3, 4, 5};
  const auto logits_of = [&](int64_t sequence) {
    const auto held = static_cast<size_t>(decoder.length(sequence));
    return last_row(prefill(decoder, sequence, std::span(tokens).subspan(held), 8));
  };
  const int64_t plain = decoder.begin(tokens), changed = decoder.begin(tokens, adapter);
  const auto expected = logits_of(plain), expected_changed = logits_of(changed);
  const auto largest_difference = [](const std::vector<float>& a, const std::vector<float>& b) {
    double largest = 0;
    for (size_t i = 0; i < a.size(); ++i)
      largest = std::max(largest, std::abs(static_cast<double>(a[i]) - b[i]));
    return largest;
  };
  EXPECT_GT(largest_difference(expected, expected_changed), 0.01);
  for (const int64_t sequence : {plain, changed}) decoder.truncate(sequence, 3);
  const int64_t plain_fork = decoder.fork(plain), changed_fork = decoder.fork(changed);
  decoder.end(changed);
  const int64_t fresh = decoder.begin(tokens);
  EXPECT_EQ(decoder.length(fresh), 3) << "of the one without an adapter";
  const double rounding = test::on_reference() ? 1e-4 : 0;
  EXPECT_LE(largest_difference(logits_of(plain_fork), expected), rounding);
  EXPECT_LE(largest_difference(logits_of(changed_fork), expected_changed), rounding);
  EXPECT_LE(largest_difference(logits_of(fresh), expected), rounding);
}

TEST(CachedDecoder, FewerBitsCostLess) {
  if (test::on_reference()) GTEST_SKIP() << "a promise of the CPU\'s own backend";
  FakeExecutor fake(12, 40, twelve());
  EXPECT_DOUBLE_EQ(CachedDecoder(fake).pass_time()(1), 1);
  double before = INFINITY;
  const auto model = tiny_model();
  for (const auto format :
       {WeightFormat::f32, WeightFormat::bf16, WeightFormat::q8, WeightFormat::q4}) {
    const auto executor = make_executor(model, {.weights = format});
    const double cost = CachedDecoder(*executor).pass_cost();
    EXPECT_LT(cost, before);
    before = cost;
  }
}

}  // namespace
}  // namespace continuo::test
