// Transcripts, settings and history survive the way to a file and back.
#include "cli/transcript.h"

#include <gtest/gtest.h>

#include "app/settings.h"
#include "cli/history.h"
#include "core/files.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

using test::TempDir;

TEST(Transcript, ReadsBackWhatItWrote) {
  const TempDir directory;
  Transcript transcript;
  transcript.chat = true;
  transcript.settings.seed = 5;
  transcript.settings.stop = {"\n\n", "true", "1"};
  apply_generation_override(transcript.settings, "top_p=0.25");
  transcript.exchanges.push_back({"Grüße\n\"x\"", {"a", "b"}, "eos", 5, true});
  save_transcript(transcript, directory / "t.json");
  const Transcript read = load_transcript(directory / "t.json");
  EXPECT_TRUE(read.chat);
  EXPECT_EQ(read.settings.seed, 5);
  EXPECT_EQ(read.settings.stop, transcript.settings.stop);
  EXPECT_EQ(describe_chain(read.settings), describe_chain(transcript.settings));
  ASSERT_EQ(read.exchanges.size(), 1U);
  EXPECT_EQ(read.exchanges[0].prompt, "Grüße\n\"x\"");
  EXPECT_EQ(read.exchanges[0].answers, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(read.exchanges[0].chat);
}

TEST(Transcript, OtherFilesAreErrors) {
  const TempDir directory;
  const char* kTexts[] = {
      "",
      "{",
      "[]",
      "{}",
      R"({"format": "other"})",
      R"({"format": "continuo transcript 1", "settings": {"sed": 1}, "chat": false, "exchanges": []})",
      R"({"format": "continuo transcript 1", "settings": {}, "chat": false, "exchanges": [{}]})"};
  for (const char* text : kTexts) {
    atomic_write(directory / "t.json", text);
    EXPECT_THROW(load_transcript(directory / "t.json"), Error) << text;
  }
}

TEST(Settings, ChangesAreNamed) {
  const GenerationConfig before;
  GenerationConfig after = before;
  EXPECT_EQ(describe_changes(before, after), "");
  apply_generation_override(after, "max_new_tokens=64");
  EXPECT_EQ(describe_changes(before, after), "max_new_tokens: 256 → 64");
}

TEST(History, KeepsLinesOfOneInputTogether) {
  const TempDir directory;
  const auto file = directory / "state" / "history";
  EXPECT_TRUE(read_history(file).empty());
  append_history(file, "one\ntwo\\n");
  append_history(file, "three");
  append_history(file, "three");
  EXPECT_EQ(read_history(file), (std::vector<std::string>{"one\ntwo\\n", "three"}));
}

}  // namespace
}  // namespace continuo
