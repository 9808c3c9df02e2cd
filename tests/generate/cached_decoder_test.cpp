#include "generate/cached_decoder.h"

#include <cmath>

#include <gtest/gtest.h>

#include "generate/fake_decoder.h"
#include "nn/transformer.h"
#include "support/backend.h"
#include "support/tiny_model.h"

namespace continuo::test {
namespace {

using Ids = std::vector<TokenId>;

TransformerOptions engine_options() {
  TransformerOptions o = tiny_options();
  o.head_dim = 16;
  return o;
}

LogitsFunction twelve() { return hashed_logits(12); }

std::vector<float> last_row(CachedDecoder& decoder, const at::Tensor& hidden) {
  const at::Tensor logits = decoder.logits(hidden);
  const float* row = logits.const_data_ptr<float>() + (logits.size(0) - 1) * logits.size(1);
  return {row, row + logits.size(1)};
}

TEST(CachedDecoder, AppendsPiecesOfSeveralSequences) {
  FakeDecoder fake(12, 40, twelve());
  fake.eval();
  CachedDecoder decoder(fake);
  const Ids a{1, 2, 3, 4, 5}, b{6, 7};
  const int64_t first = decoder.begin(a), second = decoder.begin(b);
  EXPECT_EQ(decoder.length(first), 0);
  decoder.prefill(first, std::span(a).first(3), 2);
  EXPECT_EQ(fake.forwards, 2);
  const std::vector<CachedDecoder::Piece> pieces{{first, std::span(a).subspan(3)}, {second, b}};
  const at::Tensor hidden = decoder.forward(pieces);
  EXPECT_EQ(hidden.size(0), 4);
  EXPECT_EQ(last_row(decoder, hidden), twelve()(b));
  EXPECT_EQ(last_row(decoder, hidden.narrow(0, 0, 2)), twelve()(a));
  EXPECT_EQ(decoder.length(first), 5);
  decoder.truncate(first, 2);
  const Ids other{1, 2, 9};
  EXPECT_EQ(last_row(decoder, decoder.prefill(first, std::span(other).subspan(2), 8)),
            twelve()(other));
}

TEST(CachedDecoder, KeepsTheLastSequenceWhenAskedTo) {
  FakeDecoder fake(12, 40, twelve());
  fake.eval();
  CachedDecoder decoder(fake, CachedDecoder::Keeps::kLastSequence);
  const Ids first{1, 2, 3, 4};
  const int64_t id = decoder.begin(first);
  decoder.prefill(id, std::span(first).first(3), 8);
  decoder.end(id, first);
  const Ids second{1, 2, 9};
  const int64_t again = decoder.begin(second);
  EXPECT_EQ(decoder.length(again), 2);
  EXPECT_EQ(last_row(decoder, decoder.prefill(again, std::span(second).subspan(2), 8)),
            twelve()(second));
  // It is taken, not shared.
  EXPECT_EQ(decoder.length(decoder.begin(second)), 0);
  decoder.end(again, second);
  EXPECT_EQ(decoder.length(decoder.begin(second)),
            2);  // the hidden state of its last token is yet to be asked for
}

TEST(CachedDecoder, ForgetsWhatSharesNothing) {
  FakeDecoder fake(12, 40, twelve());
  fake.eval();
  for (const auto keeps : {CachedDecoder::Keeps::kNothing, CachedDecoder::Keeps::kLastSequence}) {
    CachedDecoder decoder(fake, keeps);
    const Ids first{1, 2, 3}, second{2, 3};
    const int64_t id = decoder.begin(first);
    decoder.prefill(id, first, 8);
    decoder.end(id, first);
    EXPECT_EQ(decoder.bytes() > 0, keeps == CachedDecoder::Keeps::kLastSequence);
    EXPECT_EQ(decoder.length(decoder.begin(second)), 0);
    EXPECT_EQ(decoder.bytes(), 0);
  }
}

TEST(CachedDecoder, FewerBitsCostLess) {
  if (test::on_reference()) GTEST_SKIP() << "a promise of the CPU\'s own backend";
  FakeDecoder fake(12, 40, twelve());
  fake.eval();
  EXPECT_DOUBLE_EQ(CachedDecoder(fake).pass_time()(1), 1);
  double before = INFINITY;
  Transformer model(engine_options());
  for (const auto format :
       {WeightFormat::f32, WeightFormat::bf16, WeightFormat::q8, WeightFormat::q4}) {
    model.set_compute({.weights = format});
    const double cost = CachedDecoder(model).pass_cost();
    EXPECT_LT(cost, before);
    before = cost;
  }
}

}  // namespace
}  // namespace continuo::test
