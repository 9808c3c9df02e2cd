#include "text/jinja/render.h"

#include <random>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "text/jinja/parser.h"
#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

using jinja::Text;
using jinja::Value;
using test::error_of;

constexpr const char* kChatGolden = CONTINUO_SOURCE_DIR "/tests/golden/chat_templates/";

Text run_jinja(const std::string& source, const jinja::Variables& variables = {}) {
  return jinja::render(jinja::parse(source, "t"), variables, "t");
}

TEST(Jinja, TheLanguageAsTransformersHasIt) {
  const nlohmann::json cases = read_json(std::string(kChatGolden) + "language.json");
  const jinja::Variables variables{{"messages", Value::list({})},
                                   {"add_generation_prompt", Value(false)},
                                   {"tools", Value(jinja::None{})},
                                   {"bos_token", Value::text("<s>")}};
  ASSERT_GT(cases.size(), 60U);
  for (const auto& each : cases) {
    const std::string source = each["source"];
    SCOPED_TRACE(source);
    if (each.contains("error")) {
      EXPECT_NE(error_of([&] { run_jinja(source, variables); }), "(no error)");
      continue;
    }
    try {
      EXPECT_EQ(run_jinja(source, variables).bytes(), each["text"].get<std::string>());
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
    }
  }
}

TEST(Jinja, ErrorsNameTheLineAndTheColumn) {
  EXPECT_EQ(error_of([] { run_jinja("a\nb\n{% if x"); }).substr(0, 6), "t:3:1:");
  EXPECT_EQ(error_of([] { run_jinja("a\n{{ 1 ) }}"); }).substr(0, 6), "t:2:6:");
  EXPECT_EQ(error_of([] { run_jinja("\u00fc{# \u00e9 #}{{ [1, 2] | nosuch }}"); }).substr(0, 7),
            "t:1:12:");
  EXPECT_EQ(error_of([] { run_jinja("a\n\n{% for x in y %}\n{{ x.z.w }}{% endfor %}{{ q.z }}"); }),
            "t:4:27: 'q' is undefined, so it has no 'z'");
  EXPECT_EQ(error_of([] { run_jinja("\n{{ raise_exception('not like this') }}"); }),
            "t:2:4: not like this");
  EXPECT_NE(error_of([] { run_jinja("{{ 'a' | uper }}"); }).find("did you mean upper"),
            std::string::npos);
  EXPECT_NE(error_of([] { run_jinja("{% include 'x' %}"); }).find("'include' is not supported"),
            std::string::npos);
}

TEST(Jinja, BytesKeepTheirOrigin) {
  const jinja::Variables variables{{"c", Value(Text("  héllo wörld  ", 3))},
                                   {"d", Value(Text("x", 5))}};
  const auto origins = [&](const std::string& source) {
    const Text text = run_jinja(source, variables);
    std::string spelled;
    size_t begin = 0;
    for (const auto& run : text.runs()) {
      spelled += fmt::format("{}:{};", run.origin, text.bytes().substr(begin, run.end - begin));
      begin = run.end;
    }
    return spelled;
  };
  EXPECT_EQ(origins("a{{ c | trim }}b"), "-1:a;3:héllo wörld;-1:b;");
  EXPECT_EQ(origins("{{ 'p' + c.strip() + d ~ 's' }}"), "-1:p;3:héllo wörld;5:x;-1:s;");
  EXPECT_EQ(origins("{{ c.split('w')[1] | upper }}"), "3:ÖRLD  ;");
  EXPECT_EQ(origins("{{ c.strip()[1:4][::-1] }}"), "3:llé;");
  EXPECT_EQ(origins("{{ d | tojson }}{{ [d] }}"), "-1:\";5:x;-1:\"[';5:x;-1:'];");
  EXPECT_EQ(origins("{{ c.strip() | replace('l', d) }}"), "3:hé;5:xx;3:o wör;5:x;3:d;");
  EXPECT_EQ(origins("{% set v %}[{{ d }}]{% endset %}{{ v * 2 }}"), "-1:[;5:x;-1:][;5:x;-1:];");
  EXPECT_EQ(origins("{{ '%s and {}' % d }}{{ '{}!'.format(d) }}"), "5:x;-1: and {};5:x;-1:!;");
  EXPECT_EQ(origins("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(d) }}"), "-1:<;5:x;-1:>;");
  EXPECT_EQ(origins("{% for ch in d %}{{ ch }}{% endfor %}{{ [d, d] | join('-') }}"),
            "5:xx;-1:-;5:x;");
}

TEST(Jinja, HostileTemplatesEnd) {
  const std::string hostile[] = {
      "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}",
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{{ 'a' * 100000000000 }}",
      "{{ 9 ** 99 }}",
      "{{ 9223372036854775807 + 1 }}",
      "{{ [0] * 1000000000 }}",
      "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% "
      "endfor %}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}{% "
      "endfor %}{{ ns.l }}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(40) %}{% set ns.l = [ns.l, ns.l] %}{% "
      "endfor %}{{ ns.l == ns.l }}",
      "{% set ns = namespace(d={}) %}{% for i in range(99) %}{% set ns.d = {'a': ns.d} %}{% endfor "
      "%}",
      std::string(5000, '(') + "1" + std::string(5000, ')'),
      "{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}",
      "{{ " + std::string(5000, '[') + std::string(5000, ']') + " }}",
      "{{ " + std::string(100000, '-') + "1 }}",
      [] {
        std::string s = "{{ 1";
        for (int i = 0; i < 20000; ++i) s += "+1";
        return s + " }}";
      }(),
      [] {
        std::string s = "{{ x";
        for (int i = 0; i < 20000; ++i) s += ".a";
        return s + " }}";
      }(),
      [] {
        std::string s = "{{ x";
        for (int i = 0; i < 20000; ++i) s += "|trim";
        return s + " }}";
      }(),
      [] {
        std::string s;
        for (int i = 0; i < 5000; ++i) s += "{% if 1 %}";
        return s;
      }(),
      "{{ " + std::string(60000, ' ') + "not " +
          [] {
            std::string s;
            for (int i = 0; i < 9000; ++i) s += "not ";
            return s;
          }() +
          "1 }}",
      "{{ ('a' * 1000000).replace('', 'b' * 1000) }}",
      "{{ ('a' * 4000000).find('a' * 2000000 + 'b') }}",
      "{{ range(90000) | select('in', range(90000)) | list }}",
      "{% for c in 'a' * 9000000 %}{% endfor %}",
      "{% set b = '%' * 4000000 %}{% for i in range(9999) %}{{ b % () }}{% endfor %}",
      "{{ strftime_now('%c' * 10000) }}",
      std::string(2'000'000, 'x'),
  };
  for (const std::string& source : hostile) {
    const std::string error = error_of([&] { run_jinja(source); });
    const bool text_only = source.find('{') == std::string::npos && source.size() < 1'000'000;
    EXPECT_TRUE(text_only || error != "(no error)") << source.substr(0, 90);
  }
  run_jinja("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}{{ [ns] }}{{ ns == ns }}");
}

// Damaged templates give an Error or a text, in bounded time.
TEST(Jinja, FuzzedSources) {
  std::vector<std::string> sources;
  for (const char* file : {"templates.json", "trl_templates.json"}) {
    const nlohmann::json templates = read_json(std::string(kChatGolden) + file);
    for (const auto& [name, source] : templates.items()) {
      if (source.get<std::string>().size() < 6000) sources.push_back(source);
    }
  }
  const std::vector<std::string> parts = {"{{",
                                          "}}",
                                          "{%",
                                          "%}",
                                          "{#",
                                          "-",
                                          "'",
                                          "\"",
                                          "(",
                                          ")",
                                          "[",
                                          "]",
                                          "|",
                                          "{% for x in messages %}",
                                          "{% endfor %}",
                                          "{% if x %}",
                                          "{% endif %}",
                                          "{% set messages = x %}",
                                          "range(9)",
                                          "~",
                                          "loop",
                                          "\\",
                                          "messages",
                                          ".",
                                          ":",
                                          "::-1"};
  std::mt19937 random(31);
  const jinja::Variables variables{
      {"messages", Value::list({Value::dict({{Value::text("role"), Value::text("user")},
                                             {Value::text("content"), Value(Text("hi", 0))}})})},
      {"add_generation_prompt", Value(true)}};
  int rendered = 0;
  for (int i = 0; i < 4000; ++i) {
    std::string source = sources[random() % sources.size()];
    for (size_t n = random() % 4 + 1; n > 0; --n) {
      const size_t at = random() % source.size();
      switch (random() % 4) {
        case 0:
          source.erase(at, random() % 8);
          break;
        case 1:
          source.insert(at, parts[random() % parts.size()]);
          break;
        case 2:
          source[at] = static_cast<char>(random() % 256);
          break;
        default:
          source = source.substr(0, at) + source.substr(random() % source.size());
      }
      if (source.empty()) source = "x";
    }
    try {
      run_jinja(source, variables);
      ++rendered;
    } catch (const Error&) {
    }
  }
  EXPECT_GT(rendered, 100);
}

}  // namespace
}  // namespace continuo
