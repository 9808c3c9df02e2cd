// Damaged tokenizer files: each is an Error or a tokenizer that works, never anything else.
#include <random>

#include <gtest/gtest.h>

#include "text/tokenizer/golden_tokenizers.h"
#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

using Json = nlohmann::json;

// True when it loads. Uses it then: ids must be in the vocabulary and decode.
bool survives(const std::string& json, HfTokenizerConfig config = {}) {
  static const std::vector<std::string> texts = {"",
                                                 " ",
                                                 "Hello,  world! 123\n",
                                                 "na\u00efve \u6771\u4eac \U0001f642\u200d",
                                                 "\xFF\xE2\x96",
                                                 "<|endoftext|><s>",
                                                 std::string(300, 'a'),
                                                 "\u2581x \u2581"};
  try {
    HfTokenizer tokenizer(json, std::move(config));
    for (const std::string& text : texts) {
      try {
        for (bool special : {false, true}) {
          std::vector<TokenId> ids =
              special ? tokenizer.encode_with_specials(text) : tokenizer.encode(text);
          tokenizer.decode(ids, special);
        }
        tokenizer.encode_continuation(text);
      } catch (const Error&) {  // no token for a character, an expression that gives up
      }
    }
    return true;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("tokenizer.json"), std::string::npos) << error.what();
    return false;
  }
}

// Some value of the document, the large tables not more often than the rest.
Json* random_place(Json& document, std::mt19937& random) {
  Json* place = &document;
  while (place->is_structured() && !place->empty() && random() % 8 != 0) {
    auto child = place->begin();
    std::advance(child, static_cast<ptrdiff_t>(random() % place->size()));
    place = &*child;
  }
  return place;
}

Json random_value(std::mt19937& random) {
  static const std::vector<Json> values = {
      nullptr,
      true,
      -1,
      0,
      3,
      2147483647,
      4294967296,
      1e300,
      -0.5,
      "",
      "x",
      "\u2581",
      "(a+)+$",
      "[",
      "BPE",
      "Unigram",
      "ByteLevel",
      "Sequence",
      "<s>",
      Json::array(),
      Json::object(),
      Json::array({"a", "b"}),
      Json{{"type", "ByteLevel"}},
      Json{{"type", "Metaspace"}, {"replacement", "\u2581"}},
      Json{{"Regex", "(.*)*x|\\s*$"}},
      Json{{"String", " "}},
      Json{{"type", "Split"}, {"pattern", {{"Regex", "(\\w+)*!"}}}, {"behavior", "Contiguous"}}};
  return values[random() % values.size()];
}

TEST(HfTokenizerFuzz, FlippedBytes) {
  std::mt19937 random(21);
  int loaded = 0;
  for (const std::string& name : test::golden_names()) {
    for (int i = 0; i < 25; ++i) {
      std::string json = test::golden_json(name);
      for (size_t edits = 1 + random() % 3; edits > 0; --edits) {
        json[random() % json.size()] = static_cast<char>(random() % (i % 2 ? 256 : 128));
      }
      loaded += survives(json);
    }
  }
  EXPECT_GT(loaded, 0);
}

TEST(HfTokenizerFuzz, TruncatedFiles) {
  std::mt19937 random(22);
  for (const std::string& name : test::golden_names()) {
    std::string json = test::golden_json(name);
    json.resize(json.find_last_of('}') + 1);
    for (int i = 0; i < 15; ++i) EXPECT_FALSE(survives(json.substr(0, random() % json.size())));
  }
}

TEST(HfTokenizerFuzz, ValuesOfOtherTypes) {
  std::mt19937 random(23);
  int loaded = 0;
  for (const std::string& name : test::golden_names()) {
    const Json original = Json::parse(test::golden_json(name));
    for (int i = 0; i < 60; ++i) {
      Json document = original;
      for (size_t edits = 1 + random() % 2; edits > 0; --edits) {
        *random_place(document, random) = random_value(random);
      }
      loaded += survives(document.dump());
    }
  }
  EXPECT_GT(loaded, 50);
}

TEST(HfTokenizerFuzz, SwappedAndMissingValues) {
  std::mt19937 random(24);
  for (const std::string& name : test::golden_names()) {
    const Json original = Json::parse(test::golden_json(name));
    for (int i = 0; i < 30; ++i) {
      Json document = original;
      Json taken = *random_place(document, random);
      Json* place = random_place(document, random);
      if (place->is_object() && !place->empty() && i % 2) {
        place->erase(place->begin());
      } else {
        *place = std::move(taken);
      }
      survives(document.dump());
    }
  }
}

TEST(HfTokenizerFuzz, StepsOfOtherTokenizers) {
  for (const std::string& one : test::golden_names()) {
    for (const std::string& other : test::golden_names()) {
      Json document = Json::parse(test::golden_json(one));
      Json donor = Json::parse(test::golden_json(other));
      for (const char* key : {"normalizer", "pre_tokenizer", "decoder"}) document[key] = donor[key];
      survives(document.dump());
    }
  }
}

TEST(HfTokenizerFuzz, HostileDocuments) {
  EXPECT_FALSE(survives(""));
  EXPECT_FALSE(survives("null"));
  EXPECT_FALSE(survives(std::string(1'000'000, '[')));
  EXPECT_FALSE(survives(std::string(1'000'000, '{')));
  std::string deep = R"({"model": )" + std::string(400'000, '[') + std::string(400'000, ']') + "}";
  EXPECT_FALSE(survives(deep));
  Json steps = test::tiny_tokenizer();
  for (int i = 0; i < 300; ++i) {
    steps["pre_tokenizer"]["type"] = "Sequence";
    steps["pre_tokenizer"]["pretokenizers"].push_back(
        {{"type", "Split"}, {"pattern", {{"Regex", "(a|aa)+$"}}}, {"behavior", "Isolated"}});
  }
  EXPECT_TRUE(survives(steps.dump()));
  Json duplicated = test::tiny_tokenizer();
  for (int i = 0; i < 2000; ++i) duplicated["model"]["merges"].push_back("a b");
  EXPECT_TRUE(survives(duplicated.dump()));
  Json templates = test::tiny_tokenizer();
  for (const Json& value : {Json("x"), Json(3), Json::array({1, "A"}), Json{{"SpecialToken", 3}}}) {
    templates["post_processor"] = {{"type", "TemplateProcessing"}, {"single", value}};
    EXPECT_TRUE(survives(templates.dump()));
  }
  templates["post_processor"] = {{"type", "Sequence"}, {"processors", "x"}};
  EXPECT_TRUE(survives(templates.dump()));
}

TEST(HfTokenizerFuzz, DamagedSettings) {
  std::mt19937 random(25);
  const Json original =
      Json::parse(R"({"bos_token": "<s>", "eos_token": {"content": "<s>"}, "unk_token": null,
      "added_tokens_decoder": {"4": {"content": "<s>", "special": true, "lstrip": false}},
      "additional_special_tokens": ["<s>", {"content": "c"}], "extra_special_tokens": {"x": "<s>"},
      "mask_token": {"content": "ab"}})");
  test::TempDir directory;
  directory.write("tokenizer.json", test::tiny_tokenizer().dump());
  auto load = [&](const std::string& json) {
    directory.write("tokenizer_config.json", json);
    try {
      auto tokenizer = load_tokenizer(directory.path());
      tokenizer->decode(tokenizer->encode("abc<s>"));
      return true;
    } catch (const Error&) {
      return false;
    }
  };
  ASSERT_TRUE(load(original.dump()));
  for (int i = 0; i < 300; ++i) {
    Json document = original;
    *random_place(document, random) = random_value(random);
    load(document.dump());
    std::string text = original.dump();
    text[random() % text.size()] = static_cast<char>(random());
    load(text);
  }
  EXPECT_FALSE(
      load(R"({"chat_template": )" + std::string(200'000, '[') + std::string(200'000, ']') + "}"));
}

}  // namespace
}  // namespace continuo
