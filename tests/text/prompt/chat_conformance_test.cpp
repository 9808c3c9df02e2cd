// Every chat template of TRL's wheel, with the special tokens of its family, against what
// transformers makes of conversations: text, masks, and the ids of prompts.
#include <algorithm>
#include <random>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "text/prompt/chat_template.h"
#include "text/prompt/prompt_template.h"
#include "text/tokenizer/golden_tokenizers.h"

namespace continuo {
namespace {

using Golden = nlohmann::ordered_json;
using test::TempDir;

constexpr const char* kTrlToday = "2026-07-31";

Golden trl_golden(const std::string& name) {
  return Golden::parse(
      test::read_file(CONTINUO_SOURCE_DIR "/tests/golden/chat_templates/trl_" + name + ".json"));
}

Conversation scene_conversation(const Golden& scene) {
  Conversation conversation;
  for (const Golden& message : scene.at("messages")) {
    const bool text = message.contains("content") && message["content"].is_string();
    conversation.turns.push_back({message.at("role"), text ? message["content"] : Golden(""),
                                  message.dump(), message.contains("tool_calls")});
  }
  if (scene.contains("tools")) conversation.tools = scene["tools"].dump();
  return conversation;
}

std::map<std::string, bool> variables_of(const Golden& scene) {
  return scene.contains("variables") ? scene["variables"].get<std::map<std::string, bool>>()
                                     : std::map<std::string, bool>();
}

// The small tokenizer with the tokens of a family behind its own.
std::shared_ptr<const Tokenizer> family_tokenizer(const Golden& family) {
  nlohmann::json document = nlohmann::json::parse(test::golden_json("qwen2"));
  std::vector<std::string> known;
  int64_t next = 0;
  for (const auto& [piece, id] : document["model"]["vocab"].items()) {
    next = std::max(next, id.get<int64_t>() + 1);
  }
  for (const auto& token : document["added_tokens"]) {
    known.push_back(token["content"]);
    next = std::max(next, token["id"].get<int64_t>() + 1);
  }
  const auto add = [&](const Golden& piece, bool special) {
    if (piece.is_null() || std::ranges::find(known, piece.get<std::string>()) != known.end())
      return;
    document["added_tokens"].push_back({{"id", next++},
                                        {"content", piece.get<std::string>()},
                                        {"single_word", false},
                                        {"lstrip", false},
                                        {"rstrip", false},
                                        {"normalized", false},
                                        {"special", special}});
    known.push_back(piece);
  };
  for (const char* name : {"bos", "eos"}) add(family.at(name), true);
  for (const Golden& piece : family.at("special")) add(piece, true);
  for (const Golden& piece : family.at("plain")) add(piece, false);
  TempDir directory;
  directory.write("tokenizer.json", document.dump());
  directory.write("tokenizer_config.json",
                  Golden{{"bos_token", family.at("bos")}, {"eos_token", family.at("eos")}}.dump());
  return load_tokenizer(directory.path());
}

struct TrlCase {
  std::string name;  // template and scene
  PromptTemplate prompt;
  std::shared_ptr<const Tokenizer> tokenizer;
  Conversation conversation;
  Golden expected;
};

class ChatConformance : public testing::Test {
 protected:
  // Every template with every scene.
  template <class Check>
  void for_each_case(Check check) {
    const Golden sources = trl_golden("templates"), scenes = trl_golden("scenes");
    ASSERT_EQ(sources.size(), 72U);
    std::map<std::string, std::shared_ptr<const Tokenizer>> tokenizers;
    for (const auto& [name, family] : golden_["families"].items()) {
      tokenizers[name] = family_tokenizer(family);
    }
    for (const auto& [name, source] : sources.items()) {
      const Golden& cases = golden_["cases"][name];
      const auto tokenizer = tokenizers.at(cases["family"]);
      for (size_t i = 0; i < scenes.size(); ++i) {
        PromptConfig config{.chat_template = source, .chat_variables = {{"today", kTrlToday}}};
        for (const auto& [variable, value] : variables_of(scenes[i])) {
          config.chat_variables[variable] = value ? "true" : "false";
        }
        SCOPED_TRACE(fmt::format("{}, {}", name, scenes[i]["name"].get<std::string>()));
        check(TrlCase{name, PromptTemplate(std::move(config)).bound_to(*tokenizer), tokenizer,
                      scene_conversation(scenes[i]), cases["scenes"][i]});
      }
    }
  }
  std::string text(const Golden& number) const { return golden_["texts"][number.get<size_t>()]; }

  Golden golden_ = trl_golden("rendered");
};

std::string joined_text(const std::vector<Segment>& segments) {
  std::string text;
  for (const Segment& segment : segments) text += segment.text;
  return text;
}

ChatTemplate chat_of(const TrlCase& c) {
  return ChatTemplate({.source = c.prompt.config().chat_template,
                       .system = {},
                       .variables = c.prompt.config().chat_variables,
                       .specials = c.prompt.config().specials});
}

TEST_F(ChatConformance, TextIsThatOfTransformersOrBothRefuse) {
  int texts = 0, refused = 0;
  const auto compare = [&](const TrlCase& c, const char* what, std::span<const Turn> turns,
                           bool generation) {
    const auto wanted = c.expected.find(what);
    try {
      const std::string got = chat_of(c).render(turns, generation, c.conversation.tools).bytes();
      EXPECT_TRUE(wanted != c.expected.end())
          << what << ": transformers refuses: " << c.expected[std::string(what) + "_error"];
      EXPECT_EQ(got, wanted == c.expected.end() ? "" : text(*wanted)) << what;
      ++texts;
    } catch (const Error& error) {
      EXPECT_TRUE(wanted == c.expected.end()) << what << ": " << error.what();
      ++refused;
    }
  };
  for_each_case([&](const TrlCase& c) {
    const std::span<const Turn> turns = c.conversation.turns;
    compare(c, "whole", turns, false);
    compare(c, "prompt", turns.first(turns.size() - 1), true);
  });
  EXPECT_GT(texts, 900);
  EXPECT_GT(refused, 100);
}

TEST_F(ChatConformance, PromptsAreThoseOfTransformers) {
  int compared = 0;
  for_each_case([&](const TrlCase& c) {
    if (!c.expected.contains("ids")) return;
    const auto segments = c.prompt.render_prompt(c.conversation.turns, c.conversation.tools);
    const std::string rendered = text(c.expected["prompt"]);
    EXPECT_EQ(joined_text(segments), rendered);
    const auto ids = encode_prompt(*c.tokenizer, c.prompt, segments);
    EXPECT_EQ(c.tokenizer->decode(ids, /*special=*/true), rendered);
    EXPECT_EQ(ids, c.expected["ids"].get<std::vector<TokenId>>());
    ++compared;
  });
  EXPECT_GT(compared, 450);
}

// What is trained is what the template marks with {% generation %}, less what nothing generates:
// the rest of a generation prompt in front, white space and specials behind the end of a turn.
TEST_F(ChatConformance, MasksAreThoseOfGenerationBlocks) {
  int compared = 0, refused = 0;
  for_each_case([&](const TrlCase& c) {
    if (!c.expected.contains("generated")) return;
    std::vector<Segment> segments;
    try {
      segments = c.prompt.render(c.conversation.turns, c.conversation.tools);
    } catch (const Error& error) {
      // Generation would not see it, or the template passes over the call of a tool.
      const std::string message = error.what();
      EXPECT_TRUE(message.find("otherwise than what generation starts") != std::string::npos ||
                  message.find("leaves out") != std::string::npos)
          << message;
      ++refused;
      return;
    }
    ++compared;
    const std::string whole = text(c.expected["whole"]);
    ASSERT_EQ(joined_text(segments), whole);
    enum class Part { kNeither, kMarked, kTrained };
    std::vector<Part> parts(whole.size(), Part::kNeither);
    for (const Golden& range : c.expected["generated"]) {
      std::fill(parts.begin() + range[0].get<ptrdiff_t>(),
                parts.begin() + range[1].get<ptrdiff_t>(), Part::kMarked);
    }
    size_t at = 0;
    std::vector<bool> special(whole.size());
    for (const Segment& segment : segments) {
      for (size_t end = at + segment.text.size(); at < end; ++at) {
        special[at] = segment.special;
        if (!segment.trained) continue;
        EXPECT_EQ(parts[at], Part::kMarked) << "trained, not marked: " << segment.text;
        parts[at] = Part::kTrained;
      }
    }
    for (size_t begin = 0; begin < whole.size();) {
      const auto first = parts.begin() + static_cast<ptrdiff_t>(begin);
      const auto last = std::find_if(first, parts.end(), [&](Part p) { return p != *first; });
      const auto end = static_cast<size_t>(last - parts.begin());
      bool idle = true;
      for (size_t i = begin; i < end; ++i) idle = idle && (special[i] || whole[i] == '\n');
      const bool in_front = last != parts.end() && *last == Part::kTrained;
      EXPECT_TRUE(*first != Part::kMarked || in_front || idle)
          << "marked, not trained: " << whole.substr(begin, end - begin);
      begin = end;
    }
  });
  EXPECT_GT(compared, 150);
  EXPECT_GT(refused, 10);
}

TEST_F(ChatConformance, PromptIdsAreTheUntrainedPrefix) {
  int checked = 0;
  for_each_case([&](const TrlCase& c) {
    MaskedTokens full;
    try {
      full = encode_training(*c.tokenizer, c.prompt,
                             c.prompt.render(c.conversation.turns, c.conversation.tools));
    } catch (const Error&) {
      return;
    }
    ++checked;
    const auto ids = encode_prompt(
        *c.tokenizer, c.prompt, c.prompt.render_prompt(c.conversation.turns, c.conversation.tools));
    ASSERT_LT(ids.size(), full.tokens.size());
    EXPECT_TRUE(std::equal(ids.begin(), ids.end(), full.tokens.begin()));
    // Trained from there on, unless the template marks less than what generation gives.
    const size_t begin = text(c.expected["prompt"]).size();
    const Golden marks = c.expected.value("generated", Golden{{begin, begin + 1}});
    EXPECT_EQ(full.trained[ids.size()], std::ranges::any_of(marks, [&](const Golden& range) {
                return range[0] <= begin && range[1] > begin;
              }));
  });
  EXPECT_GT(checked, 300);
}

// A real template with a piece cut out, doubled or moved gives a text or an Error that says where.
TEST_F(ChatConformance, DamagedTemplatesAreRefusedOrRender) {
  std::mt19937 random(7);
  const Golden sources = trl_golden("templates"), scenes = trl_golden("scenes");
  std::vector<std::string> all;
  for (const auto& [name, source] : sources.items()) all.push_back(source);
  int rendered = 0, refused = 0;
  for (int i = 0; i < 600; ++i) {
    std::string source = all[random() % all.size()];
    for (int edits = static_cast<int>(random() % 3); edits >= 0; --edits) {
      const size_t begin = random() % source.size();
      const std::string piece = source.substr(begin, random() % 40 + 1);
      if (random() % 2) source.erase(begin, piece.size());
      if (random() % 2) source.insert(random() % (source.size() + 1), piece);
    }
    const Conversation c = scene_conversation(scenes[random() % scenes.size()]);
    try {
      const ChatTemplate chat(
          {.source = source, .system = {}, .variables = {}, .specials = {"<|im_end|>"}});
      chat.training(c.turns, c.tools);
      ++rendered;
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_TRUE(message.starts_with("chat_template:") || message.starts_with("the chat template"))
          << message << "\n"
          << source;
      ++refused;
    }
  }
  EXPECT_GT(rendered, 30);
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace continuo
