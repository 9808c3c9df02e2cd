#include "text/prompt/chat_template_file.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

TEST(ChatTemplateFile, AFileOfItsOwnComesFirst) {
  const test::TempDir directory;
  EXPECT_EQ(read_chat_template(directory.path()), std::nullopt);
  const auto config =
      directory.write("tokenizer_config.json", R"({"chat_template": "{{ bos_token }}"})");
  auto found = read_chat_template(directory.path());
  ASSERT_TRUE(found);
  EXPECT_EQ(found->source, "{{ bos_token }}");
  EXPECT_EQ(found->file, config);
  const auto own = directory.write("chat_template.jinja", "{{ messages }}\n");
  found = read_chat_template(directory.path());
  ASSERT_TRUE(found);
  EXPECT_EQ(found->source, "{{ messages }}\n");
  EXPECT_EQ(found->file, own);
}

TEST(ChatTemplateFile, OfAListTheDefaultIsTaken) {
  const test::TempDir directory;
  directory.write("tokenizer_config.json", R"({"chat_template": [
    {"name": "tool_use", "template": "a"}, {"name": "default", "template": "b"}]})");
  const auto found = read_chat_template(directory.path());
  ASSERT_TRUE(found);
  EXPECT_EQ(found->source, "b");
  for (const char* none :
       {R"({"chat_template": null})", R"({})", R"({"chat_template": []})",
        R"({"chat_template": [{"name": "tool_use", "template": "a"}]})", R"([1])"}) {
    directory.write("tokenizer_config.json", none);
    EXPECT_EQ(read_chat_template(directory.path()), std::nullopt) << none;
  }
}

TEST(ChatTemplateFile, FaultsNameTheFile) {
  const test::TempDir directory;
  directory.write("tokenizer_config.json", R"({"chat_template": 3})");
  test::expect_error([&] { read_chat_template(directory.path()); },
                     {"tokenizer_config.json", "chat_template must be"});
  directory.write("tokenizer_config.json", "{");
  test::expect_error([&] { read_chat_template(directory.path()); }, {"tokenizer_config.json:1"});
}

}  // namespace
}  // namespace continuo
