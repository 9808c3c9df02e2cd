#include "text/tokenizer/sentencepiece_tokenizer.h"

#include <algorithm>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

using test::error_of;
using test::lossless_kinds;
using test::small_model;
using test::small_tokenizer;
using test::SmallKind;
using test::TempDir;

std::vector<std::string> pieces(const Tokenizer& tokenizer, std::span<const TokenId> ids) {
  std::vector<std::string> result;
  for (TokenId id : ids) result.push_back(tokenizer.piece(id));
  return result;
}

std::string bytes_of(const Tokenizer& tokenizer, std::span<const TokenId> ids) {
  std::string result;
  for (TokenId id : ids) result += tokenizer.token_bytes(id);
  return result;
}

// A trained model whose specials are user-defined symbols, as other trainers write them.
std::string with_user_defined_specials(std::string model) {
  SentencePieceModel parsed = parse_sentencepiece_model(model, {});
  for (const auto& piece : parsed.pieces) {
    if (piece.text.starts_with("<|")) model[piece.type_offset] = 4;
  }
  return model;
}

TEST(SentencePieceTokenizer, TextRoundTripsByteForByte) {
  std::mt19937 random(1);
  for (const SmallKind& kind : lossless_kinds()) {
    const auto& tokenizer = small_tokenizer(kind);
    for (int i = 0; i < 2000; ++i) {
      std::string text = test::random_text(random);
      std::vector<TokenId> ids = tokenizer.encode(text);
      ASSERT_EQ(tokenizer.decode(ids), text);
      for (TokenId id : ids)
        ASSERT_FALSE(tokenizer.is_special(id)) << tokenizer.piece(id) << " in " << text;
    }
  }
}

TEST(SentencePieceTokenizer, ArbitraryBytesRoundTrip) {
  std::mt19937 random(2);
  for (const SmallKind& kind : lossless_kinds()) {
    const auto& tokenizer = small_tokenizer(kind);
    for (int i = 0; i < 500; ++i) {
      std::string text;
      for (size_t n = random() % 20; n > 0; --n) text += static_cast<char>(random());
      ASSERT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
      ASSERT_EQ(bytes_of(tokenizer, tokenizer.encode_continuation(text)), text);
    }
  }
}

TEST(SentencePieceTokenizer, ContinuationAddsExactlyItsBytes) {
  std::mt19937 random(3);
  for (const SmallKind& kind : lossless_kinds()) {
    const auto& tokenizer = small_tokenizer(kind);
    for (int i = 0; i < 1000; ++i) {
      std::string prompt = test::random_text(random), completion = test::random_text(random);
      std::vector<TokenId> tail = tokenizer.encode_continuation(completion);
      ASSERT_EQ(bytes_of(tokenizer, tail), completion);
      if (prompt.empty()) continue;
      std::vector<TokenId> ids = tokenizer.encode(prompt);
      ids.insert(ids.end(), tail.begin(), tail.end());
      ASSERT_EQ(tokenizer.decode(ids), prompt + completion);
    }
  }
}

TEST(SentencePieceTokenizer, DummyPrefixOnlyWhereADocumentOpens) {
  const auto& with = small_tokenizer({TokenizerModel::kUnigram, true});
  EXPECT_TRUE(with.has_dummy_prefix());
  EXPECT_EQ(pieces(with, with.encode("the"))[0], "▁the");
  EXPECT_EQ(bytes_of(with, with.encode_continuation("the")), "the");
  EXPECT_EQ(pieces(with, with.encode_continuation(" the")), std::vector<std::string>{"▁the"});
  EXPECT_TRUE(with.encode("").empty());
  EXPECT_TRUE(with.encode_continuation("").empty());

  const auto& without = small_tokenizer();
  EXPECT_FALSE(without.has_dummy_prefix());
  EXPECT_EQ(without.encode("the dog"), without.encode_continuation("the dog"));
  EXPECT_EQ(without.decode(without.encode(" the")), " the");
}

TEST(SentencePieceTokenizer, DecodeStripsTheDummySpaceOnceAtTheStart) {
  const auto& tokenizer = small_tokenizer({TokenizerModel::kUnigram, true});
  TokenId the = *tokenizer.find("▁the"), bos = *tokenizer.bos(), user = *tokenizer.find("<|user|>");
  EXPECT_EQ(tokenizer.decode(std::vector{the, the}), "the the");
  EXPECT_EQ(tokenizer.decode(std::vector{bos, the, the}), "the the");
  EXPECT_EQ(tokenizer.decode(std::vector{user, the}), " the");
  EXPECT_EQ(tokenizer.decode(std::vector{bos, user, the}, true), "<s><|user|> the");
}

TEST(SentencePieceTokenizer, NobodyCanTypeASpecialToken) {
  for (const SmallKind& kind : lossless_kinds()) {
    for (const std::string& model :
         {small_model(kind), with_user_defined_specials(small_model(kind))}) {
      SentencePieceTokenizer tokenizer(model);
      for (std::string special : {"<|user|>", "<|bot|>", "<s>", "</s>", "<unk>", "<pad>"}) {
        ASSERT_TRUE(tokenizer.is_special(*tokenizer.find(special)));
        std::string text = "the " + special + " fox";
        for (const auto& ids : {tokenizer.encode(text), tokenizer.encode_continuation(text)}) {
          EXPECT_EQ(std::count(ids.begin(), ids.end(), *tokenizer.find(special)), 0) << special;
        }
        EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
      }
    }
  }
}

TEST(SentencePieceTokenizer, SettingsMayDeclareAUserDefinedSymbolPlain) {
  std::string model = with_user_defined_specials(small_model());
  TokenId user = *small_tokenizer().find("<|user|>");
  HfTokenizerConfig config;
  config.added[user] = {"<|user|>", false};
  SentencePieceTokenizer plain(model, config);
  EXPECT_FALSE(plain.is_special(user));
  EXPECT_EQ(plain.encode("<|user|>"), std::vector{user});
  EXPECT_EQ(plain.decode(std::vector{user}), "<|user|>");
  EXPECT_NE(plain.hash(), SentencePieceTokenizer(model).hash());
}

TEST(SentencePieceTokenizer, BytePiecesDecodeToRawBytes) {
  const auto& tokenizer = small_tokenizer();
  ASSERT_TRUE(tokenizer.has_byte_fallback());
  EXPECT_EQ(tokenizer.token_bytes(*tokenizer.find("<0x0A>")), "\n");
  EXPECT_EQ(tokenizer.token_bytes(*tokenizer.find("<0xFF>")), "\xFF");
  EXPECT_EQ(tokenizer.token_bytes(*tokenizer.find("▁the")), " the");
  EXPECT_EQ(tokenizer.piece(*tokenizer.find("<0x0A>")), "<0x0A>");
  EXPECT_EQ(pieces(tokenizer, tokenizer.encode("é")),
            (std::vector<std::string>{"<0xC3>", "<0xA9>"}));
}

TEST(SentencePieceTokenizer, Specials) {
  const auto& tokenizer = small_tokenizer();
  EXPECT_EQ(tokenizer.size(), 400);
  EXPECT_EQ(tokenizer.find("<unk>"), 0);
  EXPECT_EQ(tokenizer.bos(), 1);
  EXPECT_EQ(tokenizer.eos(), 2);
  EXPECT_EQ(tokenizer.pad(), 3);
  EXPECT_EQ(tokenizer.find("<|user|>"), 4);
  EXPECT_EQ(tokenizer.find("<|bot|>"), 5);
  EXPECT_EQ(tokenizer.find("<|nobody|>"), std::nullopt);
  EXPECT_EQ(tokenizer.token_bytes(2), "");
  EXPECT_EQ(tokenizer.decode(std::vector<TokenId>{2, 4}), "");
  EXPECT_EQ(tokenizer.decode(std::vector<TokenId>{4, 2}, true), "<|user|></s>");
  EXPECT_EQ(tokenizer.model_type(), "unigram");
  EXPECT_NE(error_of([&] { tokenizer.piece(400); }).find("token id 400"), std::string::npos);
  EXPECT_NE(error_of([&] { tokenizer.decode(std::vector<TokenId>{-1}); }).find("token id -1"),
            std::string::npos);
}

TEST(SentencePieceTokenizer, SavedFilesGiveTheSameTokenizer) {
  for (const SmallKind& kind : lossless_kinds()) {
    for (const std::string& model :
         {small_model(kind), with_user_defined_specials(small_model(kind))}) {
      TempDir directory;
      SentencePieceTokenizer tokenizer(model);
      tokenizer.save(directory / "saved");
      EXPECT_EQ(test::read_file(directory / "saved/tokenizer.model"), model);
      auto again = load_tokenizer(directory / "saved");
      EXPECT_EQ(again->hash(), tokenizer.hash());
      EXPECT_EQ(again->encode("the <|user|> fox"), tokenizer.encode("the <|user|> fox"));
      again->save(directory / "twice");
      EXPECT_EQ(test::read_file(directory / "saved/tokenizer_config.json"),
                test::read_file(directory / "twice/tokenizer_config.json"));
      EXPECT_EQ(load_tokenizer(directory / "saved/tokenizer.model")->hash(), tokenizer.hash());
    }
  }
}

TEST(SentencePieceTokenizer, SettingsForTransformers) {
  TempDir directory;
  small_tokenizer({TokenizerModel::kBpe, false}).save(directory.path());
  auto json = nlohmann::json::parse(test::read_file(directory / "tokenizer_config.json"));
  EXPECT_EQ(json["tokenizer_class"], "LlamaTokenizer");
  EXPECT_EQ(json["eos_token"], "</s>");
  EXPECT_EQ(json["pad_token"], "<pad>");
  EXPECT_EQ(json["add_bos_token"], false);
  EXPECT_EQ(json["legacy"], false);
  EXPECT_EQ(json["add_prefix_space"], false);
  EXPECT_EQ(json["added_tokens_decoder"]["4"]["content"], "<|user|>");
  EXPECT_EQ(json["added_tokens_decoder"]["4"]["special"], true);
  EXPECT_FALSE(std::filesystem::exists(directory / "tokenizer.json"));
}

TEST(SentencePieceTokenizer, UnigramModelsComeWithTheirOwnTokenizerJson) {
  for (bool dummy_prefix : {false, true}) {
    TempDir directory;
    const auto& tokenizer = small_tokenizer({TokenizerModel::kUnigram, dummy_prefix});
    tokenizer.save(directory.path());
    auto settings = nlohmann::json::parse(test::read_file(directory / "tokenizer_config.json"));
    EXPECT_EQ(settings["tokenizer_class"], "PreTrainedTokenizerFast");
    auto json = nlohmann::json::parse(test::read_file(directory / "tokenizer.json"));
    EXPECT_EQ(json["model"]["type"], "Unigram");
    EXPECT_EQ(json["model"]["unk_id"], 0);
    EXPECT_EQ(json["model"]["byte_fallback"], true);
    ASSERT_EQ(json["model"]["vocab"].size(), 400u);
    EXPECT_EQ(json["model"]["vocab"][*tokenizer.find("\u2581the")][0], "\u2581the");
    EXPECT_EQ(json["added_tokens"][4]["content"], "<|user|>");
    EXPECT_EQ(json["pre_tokenizer"].is_null(), !dummy_prefix);
    EXPECT_EQ(json["decoder"]["decoders"].size(), dummy_prefix ? 4u : 3u);
  }
}

TEST(SentencePieceTokenizer, ReadsTokensBesideTheModelAndItsEndOfSequence) {
  TempDir directory;
  directory.write("tokenizer.model", small_model());
  directory.write("tokenizer_config.json",
                  R"({"eos_token": {"content": "<|im_end|>"}, "bos_token": null,
      "chat_template": "kept", "added_tokens_decoder": {"400": {"content": "<|im_end|>", "special": true}}})");
  auto tokenizer = load_tokenizer(directory.path());
  EXPECT_EQ(tokenizer->size(), 401);
  EXPECT_EQ(tokenizer->eos(), 400);
  EXPECT_EQ(tokenizer->bos(), std::nullopt);
  EXPECT_EQ(tokenizer->pad(), 3);
  EXPECT_TRUE(tokenizer->is_special(400));
  for (TokenId id : tokenizer->encode("<|im_end|>")) EXPECT_LT(id, 400);
  tokenizer->save(directory / "saved");
  EXPECT_EQ(load_tokenizer(directory / "saved")->hash(), tokenizer->hash());
  EXPECT_NE(test::read_file(directory / "saved/tokenizer_config.json").find("kept"),
            std::string::npos);

  directory.write("tokenizer_config.json", R"({"eos_token": "<|nobody|>"})");
  std::string message = error_of([&] { load_tokenizer(directory.path()); });
  EXPECT_NE(message.find("eos_token '<|nobody|>' is not in the vocabulary"), std::string::npos)
      << message;
}

TEST(SentencePieceTokenizer, WithoutByteFallbackUnknownTextIsTheUnknownPiece) {
  const auto& tokenizer = small_tokenizer({TokenizerModel::kUnigram, false, false});
  EXPECT_FALSE(tokenizer.has_byte_fallback());
  EXPECT_EQ(tokenizer.encode("日"), std::vector<TokenId>{0});
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("the fox")), "the fox");
}

TEST(SentencePieceTokenizer, HashTellsModelsApart) {
  EXPECT_EQ(SentencePieceTokenizer(small_model()).hash(), small_tokenizer().hash());
  EXPECT_EQ(small_tokenizer().hash().size(), 32u);
  EXPECT_NE(small_tokenizer().hash(), small_tokenizer({TokenizerModel::kBpe, false}).hash());
}

TEST(LoadTokenizer, MissingFiles) {
  TempDir directory;
  std::string message = error_of([&] { load_tokenizer(directory.path()); });
  EXPECT_NE(message.find("no tokenizer in this directory"), std::string::npos) << message;
  message = error_of([&] { load_tokenizer(directory / "nowhere"); });
  EXPECT_NE(message.find("no such tokenizer"), std::string::npos) << message;
}

// Damaged files end in an Error, never in a crash, and nothing is printed.
TEST(LoadTokenizer, DamagedModels) {
  const std::string model = small_model({TokenizerModel::kBpe, true});
  testing::internal::CaptureStderr();
  for (std::string bad : {std::string(), std::string("hello"), std::string(1000, '\xFF'),
                          std::string(1000, '\0'), model.substr(0, model.size() / 2)}) {
    std::string message = error_of([&] { SentencePieceTokenizer tokenizer(bad, {}, "bad.model"); });
    EXPECT_NE(message.find("bad.model"), std::string::npos) << message;
  }
  for (size_t length = 0; length < model.size(); length += 7) {
    try {
      SentencePieceTokenizer tokenizer(model.substr(0, length));
    } catch (const Error&) {
    }
  }
  std::mt19937 random(5);
  for (int i = 0; i < 2000; ++i) {
    std::string flipped = model;
    flipped[random() % flipped.size()] ^= static_cast<char>(1 << random() % 8);
    try {
      SentencePieceTokenizer tokenizer(flipped);
      tokenizer.decode(tokenizer.encode("the quick brown fox 123 é\n"));
    } catch (const Error&) {
    }
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace continuo
