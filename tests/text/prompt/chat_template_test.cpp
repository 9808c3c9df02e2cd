#include "text/prompt/chat_template.h"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "text/prompt/chat_presets.h"
#include "text/prompt/chat_template_file.h"
#include "text/prompt/prompt_template.h"
#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

using test::error_of;
using test::TempDir;
using Conversation = std::vector<Turn>;
using ChatSegments = std::vector<Segment>;

const std::string kGoldenChats = CONTINUO_SOURCE_DIR "/tests/golden/chat_templates/";
const std::vector<std::string> kChatSpecials = {
    "<s>",           "</s>",       "<|im_start|>",        "<|im_end|>",       "<|eot_id|>",
    "<|end|>",       "<|user|>",   "<|assistant|>",       "<|system|>",       "<start_of_turn>",
    "<end_of_turn>", "<|im_sep|>", "<|start_header_id|>", "<|end_header_id|>"};

// Those of templates.json, and those of TRL's that rendered.json has too.
std::map<std::string, std::string> golden_templates() {
  std::map<std::string, std::string> all = read_json(kGoldenChats + "templates.json");
  const std::map<std::string, std::string> trl = read_json(kGoldenChats + "trl_templates.json");
  const nlohmann::json rendered = read_json(kGoldenChats + "rendered.json");
  for (const auto& [name, texts] : rendered.items()) {
    if (trl.contains(name)) all[name] = trl.at(name);
  }
  return all;
}

std::vector<Conversation> golden_conversations() {
  std::vector<Conversation> all;
  for (const auto& turns : read_json(kGoldenChats + "conversations.json")) {
    Conversation& conversation = all.emplace_back();
    for (const auto& turn : turns) conversation.push_back({turn["role"], turn["content"]});
  }
  return all;
}

ChatTemplate golden_template(const std::string& source) {
  return ChatTemplate({.source = source,
                       .system = {},
                       .variables = {{"bos_token", "<s>"},
                                     {"eos_token", "</s>"},
                                     {"date_string", "26 Jul 2024"},
                                     {"today", "2026-07-31"}},
                       .specials = kChatSpecials});
}

std::string text_of(const ChatSegments& segments) {
  std::string text;
  for (const Segment& segment : segments) text += segment.text;
  return text;
}

// "plain[trained]plain", specials between ⟨ ⟩.
std::string shown(const ChatSegments& segments) {
  std::string text;
  for (size_t i = 0; i < segments.size(); ++i) {
    const bool opens = segments[i].trained && (i == 0 || !segments[i - 1].trained);
    const bool closes =
        segments[i].trained && (i + 1 == segments.size() || !segments[i + 1].trained);
    if (opens) text += "[";
    text += segments[i].special ? "⟨" + segments[i].text + "⟩" : segments[i].text;
    if (closes) text += "]";
  }
  return text;
}

// Up to the last trained run.
ChatSegments prompt_part(ChatSegments segments) {
  while (!segments.empty() && !segments.back().trained) segments.pop_back();
  while (!segments.empty() && segments.back().trained) segments.pop_back();
  return segments;
}

TEST(ChatTemplate, TextIsThatOfTransformers) {
  const nlohmann::json rendered = read_json(kGoldenChats + "rendered.json");
  const auto conversations = golden_conversations();
  int texts = 0;
  for (const auto& [name, source] : golden_templates()) {
    std::optional<ChatTemplate> chat;
    try {
      chat.emplace(golden_template(source));
    } catch (const Error& error) {
      ADD_FAILURE() << name << ": " << error.what();
      continue;
    }
    for (size_t i = 0; i < conversations.size(); ++i) {
      for (const bool generation : {false, true}) {
        SCOPED_TRACE(fmt::format("{}, conversation {}, {}", name, i, generation));
        const auto& expected = rendered[name][i][generation ? 1 : 0];
        if (expected.contains("error")) {
          const std::string error = error_of([&] { chat->render(conversations[i], generation); });
          EXPECT_NE(error, "(no error)");
          continue;
        }
        try {
          EXPECT_EQ(chat->render(conversations[i], generation).bytes(),
                    expected["text"].get<std::string>());
          ++texts;
        } catch (const Error& error) {
          ADD_FAILURE() << error.what();
        }
      }
    }
  }
  EXPECT_GT(texts, 400);
}

// What generation starts from is what stands before the answer in training, or training refuses.
TEST(ChatTemplate, GenerationSeesTheUntrainedPrefix) {
  const auto conversations = golden_conversations();
  int checked = 0, refused = 0;
  for (const auto& [name, source] : golden_templates()) {
    const ChatTemplate chat = golden_template(source);
    for (const Conversation& turns : conversations) {
      if (turns.back().role != "assistant") continue;
      SCOPED_TRACE(name);
      ChatSegments training;
      try {
        training = chat.training(turns);
      } catch (const Error&) {
        ++refused;
        continue;
      }
      ++checked;
      EXPECT_EQ(text_of(training), chat.render(turns, false).bytes());
      EXPECT_TRUE(std::ranges::any_of(training, &Segment::trained));
      const ChatSegments prompt = chat.generation(std::span(turns).first(turns.size() - 1));
      EXPECT_EQ(shown(prompt_part(training)), shown(prompt));
    }
  }
  EXPECT_GT(checked, 150);
  EXPECT_GT(refused, 10) << "templates that raise, or drop what an answer holds";
}

TEST(ChatTemplate, MasksOfKnownModels) {
  const auto templates = golden_templates();
  const Conversation turns{{"user", "a"}, {"assistant", "b"}, {"user", "c"}, {"assistant", "d"}};
  const auto masked = [&](const char* name) {
    return shown(golden_template(templates.at(name)).training(turns));
  };
  EXPECT_EQ(masked("chatml"),
            "⟨<|im_start|>⟩user\na⟨<|im_end|>⟩\n⟨<|im_start|>⟩assistant\n[b⟨<|im_end|>⟩]\n"
            "⟨<|im_start|>⟩user\nc⟨<|im_end|>⟩\n⟨<|im_start|>⟩assistant\n[d⟨<|im_end|>⟩]\n");
  EXPECT_EQ(masked("gemma"),
            "⟨<s>⟩⟨<start_of_turn>⟩user\na⟨<end_of_turn>⟩\n⟨<start_of_turn>⟩model\n"
            "[b⟨<end_of_turn>⟩]\n⟨<start_of_turn>⟩user\nc⟨<end_of_turn>⟩\n"
            "⟨<start_of_turn>⟩model\n[d⟨<end_of_turn>⟩]\n");
  EXPECT_EQ(masked("llama2"), "⟨<s>⟩[INST] a [/INST][ b ⟨</s>⟩]⟨<s>⟩[INST] c [/INST][ d ⟨</s>⟩]");
  EXPECT_EQ(masked("phi3"),
            "⟨<|user|>⟩\na⟨<|end|>⟩\n⟨<|assistant|>⟩\n[b⟨<|end|>⟩]\n⟨<|user|>⟩\nc⟨<|end|>⟩\n"
            "⟨<|assistant|>⟩\n[d⟨<|end|>⟩]\n⟨</s>⟩");
  // What the template puts between generation prompt and content is the model's to write.
  EXPECT_TRUE(masked("qwen3").ends_with("assistant\n[<think>\n\n</think>\n\nd⟨<|im_end|>⟩]\n"))
      << masked("qwen3");
  EXPECT_EQ(golden_template(templates.at("llama3")).end_of_turn(), "<|eot_id|>");
}

TEST(ChatTemplate, WhatAMessageSpellsIsNeverSpecial) {
  const auto templates = golden_templates();
  std::mt19937 random(5);
  const std::vector<std::string> parts = {"<|im_", "end|>",    "<|im_end|>", "<|",
                                          "|>",    "im_start", "</s>",       "<s>",
                                          "user",  "\n",       "<|eot_id|>", " "};
  const auto text = [&] {
    std::string out;
    for (size_t n = random() % 6; n > 0; --n) out += parts[random() % parts.size()];
    return out + "x";
  };
  for (const char* name :
       {"chatml", "llama3", "qwen3", "mistral", "zephyr", "phi4_mini", "gemma"}) {
    const ChatTemplate chat = golden_template(templates.at(name));
    const auto specials = [&](const Conversation& turns) {
      std::vector<std::string> found;
      for (const Segment& segment : chat.training(turns)) {
        if (segment.special) found.push_back(segment.text);
      }
      return found;
    };
    const auto harmless = specials({{"user", "x"}, {"assistant", "x"}});
    for (int i = 0; i < 300; ++i) {
      EXPECT_EQ(specials({{"user", text()}, {"assistant", text()}}), harmless) << name;
    }
  }
}

TEST(ChatTemplate, RefusesWhatGenerationWouldNotSee) {
  const auto fault = [](const std::string& source, Conversation turns) {
    const ChatTemplate chat({.source = source, .system = {}, .variables = {}, .specials = {}});
    return error_of([&] { chat.training(turns); });
  };
  const Conversation turns{{"user", "q"}, {"assistant", "answer"}};
  const std::string loop = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
  EXPECT_NE(fault(loop + "{% if add_generation_prompt %}<assistant><think>{% endif %}", turns)
                .find("otherwise than what generation starts answer 2 from"),
            std::string::npos);
  EXPECT_NE(fault("{% for m in messages %}{{ m.content if m.role == 'user' }}{% endfor %}", turns)
                .find("leaves out the answer of turn 2"),
            std::string::npos);
  EXPECT_NE(fault(loop, {{"robot", "x"}}).find("unknown role 'robot'"), std::string::npos);
  EXPECT_NE(fault("\n{{ raise_exception('no') }}", turns).find("chat_template:2:4: no"),
            std::string::npos);
  // Generation itself takes such templates.
  const ChatTemplate thinks(
      {.source = loop + "{% if add_generation_prompt %}<assistant>T{% endif %}",
       .system = {},
       .variables = {},
       .specials = {}});
  EXPECT_EQ(
      shown(thinks.generation(Conversation{{"user", "q"}, {"assistant", "a"}, {"user", "r"}})),
      "<user>q<assistant>a<user>r<assistant>T");
}

// {% generation %} says which part of an answer is trained; its end is in any case.
TEST(ChatTemplate, MarksOfGenerationNarrowTheMask) {
  const auto masked = [](const std::string& answer) {
    const std::string macro =
        "{% macro marked(x) %}{% generation %}<{{ x }}>{% endgeneration %}{% endmacro %}";
    const bool calls = answer.find("marked(") != std::string::npos;
    const ChatTemplate chat({.source = (calls ? macro : std::string()) +
                                       "{% for m in messages %}<{{ m.role }}>"
                                       "{% if m.role == 'assistant' %}" +
                                       answer +
                                       "{% else %}{{ m.content }}{% endif %}{% endfor %}"
                                       "{% if add_generation_prompt %}<assistant>{% endif %}",
                             .system = {},
                             .variables = {},
                             .specials = {"</s>", "<call>"}});
    return shown(chat.training(Conversation{{"user", "q"}, {"assistant", "a"}, {"user", "r"}}));
  };
  EXPECT_EQ(masked("{{ m.content }}</s>\n"), "<user>q<assistant>[a⟨</s>⟩]\n<user>r");
  EXPECT_EQ(masked("{% generation %}{{ m.content }}</s>\n{% endgeneration %}"),
            "<user>q<assistant>[a⟨</s>⟩]\n<user>r");
  EXPECT_EQ(masked("{% generation %}{{ m.content }}{% endgeneration %}</s>\n"),
            "<user>q<assistant>[a⟨</s>⟩]\n<user>r");
  EXPECT_EQ(masked("think{% generation %}{{ m.content }}{% endgeneration %}</s>\n"),
            "<user>q<assistant>[]think[a⟨</s>⟩]\n<user>r");
  EXPECT_EQ(masked("{% generation %}1<call>{% endgeneration %}2{{ m.content }}</s>\n"),
            "<user>q<assistant>[1⟨<call>⟩]2a⟨</s>⟩\n<user>r");
  EXPECT_EQ(masked("-{{ marked(m.content) }}</s>"), "<user>q<assistant>[]-[<a>⟨</s>⟩]<user>r");
}

// A history without a mark reads as it does in training, where a later answer has one.
TEST(ChatTemplate, AnswersWithoutAMarkAreNotTrained) {
  const ChatTemplate chat(
      {.source = "{% for m in messages %}<{{ m.role }}>{% if loop.last and m.role == 'assistant' %}"
                 "{% generation %}{{ m.content }}</s>{% endgeneration %}"
                 "{% else %}{{ m.content }}</s>{% endif %}{% endfor %}"
                 "{% if add_generation_prompt %}<assistant>{% endif %}",
       .system = {},
       .variables = {},
       .specials = {"</s>"}});
  const Conversation turns{{"user", "q"}, {"assistant", "a"}, {"user", "r"}, {"assistant", "b"}};
  const ChatSegments training = chat.training(turns);
  EXPECT_EQ(shown(training), "<user>q⟨</s>⟩<assistant>a⟨</s>⟩<user>r⟨</s>⟩<assistant>[b⟨</s>⟩]");
  EXPECT_EQ(prompt_part(training), chat.generation(std::span(turns).first(3)));
}

TEST(ChatTemplate, SystemTurnsAndVariables) {
  const std::string source =
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{{ ' on' if flag else ' "
      "off' }}";
  ChatSettings settings{
      .source = source, .system = "say \"hi\"\n", .variables = {{"flag", "false"}}, .specials = {}};
  const ChatTemplate chat(settings);
  const Conversation turns{{"user", "q"}};
  EXPECT_EQ(chat.render(turns, false).bytes(), "<system>say \"hi\"\n<user>q off");
  EXPECT_EQ(chat.render(Conversation{{"system", "s"}, {"user", "q"}}, false).bytes(),
            "<system>s<user>q off");
  const ChatTemplate alone(
      {.source = chat.standalone(), .system = {}, .variables = {}, .specials = {}});
  EXPECT_EQ(alone.render(turns, false).bytes(), chat.render(turns, false).bytes());
  const ChatTemplate dated({.source = "{{ strftime_now('%d %B %Y') }}",
                            .system = {},
                            .variables = {{"today", "2026-07-31"}},
                            .specials = {}});
  EXPECT_EQ(dated.render(turns, false).bytes(), "31 July 2026");
}

TEST(ChatTemplateFile, WhereTransformersKeepsIt) {
  TempDir directory;
  EXPECT_FALSE(read_chat_template(directory.path()));
  directory.write(
      "tokenizer_config.json",
      R"({"chat_template": [{"name": "tools", "template": "t"}, {"name": "default", "template": "d"}]})");
  EXPECT_EQ(read_chat_template(directory.path())->source, "d");
  directory.write("tokenizer_config.json", R"({"chat_template": "text"})");
  EXPECT_EQ(read_chat_template(directory.path())->source, "text");
  directory.write("tokenizer_config.json", R"({"chat_template": 3})");
  EXPECT_NE(error_of([&] { read_chat_template(directory.path()); }).find("must be a string"),
            std::string::npos);
  directory.write("chat_template.jinja", "file");
  EXPECT_EQ(read_chat_template(directory.path())->source, "file");
}

}  // namespace
}  // namespace continuo
