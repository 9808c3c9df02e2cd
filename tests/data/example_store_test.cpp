#include "data/example_store.h"

#include <csignal>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "core/interrupt.h"
#include "support/data_fixture.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;
using test::data_config;
using test::error_of;
using test::open_store;
using test::record;
using Rows = std::vector<std::string>;

std::vector<fs::path> stores(const test::TempDir& dir) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(dir / "cache")) {
    if (entry.path().extension() == ".examples") files.push_back(entry.path());
  }
  return files;
}

TEST(ExampleStore, TokensMaskAndPlaces) {
  const test::TempDir dir;
  const auto one = dir.write("one.jsonl", record("a", "b") + "\n" + record("cc", "dd"));
  const auto two = dir.write("two.jsonl", record("e", "f"));
  const auto store = open_store(data_config(dir, {one, two}));
  EXPECT_EQ(test::show(*store), (Rows{"a>[b$]", "cc>[dd$]", "e>[f$]"}));
  EXPECT_EQ(store->where(1), display_path(one.string()) + ":3");
  EXPECT_EQ(store->where(2), display_path(two.string()) + ":1");
  EXPECT_EQ(store->source(2), 1);
  EXPECT_EQ(store->source_range(0), (std::pair<int64_t, int64_t>{0, 2}));
  EXPECT_EQ(store->source_range(1), (std::pair<int64_t, int64_t>{2, 3}));
  EXPECT_EQ(store->length(1), 6);
  EXPECT_EQ(store->report().rows, 3);
  EXPECT_EQ(store->report().tokens, 14);
  EXPECT_EQ(store->report().trained, 7);
  EXPECT_EQ(store->source_report(1).kept, 1);
}

TEST(ExampleStore, ASecondOpenReadsTheCache) {
  const test::TempDir dir;
  DataConfig config =
      data_config(dir, {dir.write("rows.jsonl", record("a", "b") + "oops\n" + test::records(50))});
  config.faulty_rows = FaultyRows::kDrop;
  config.overlong = OverlongRows::kTruncatePromptLeft;
  const auto built = open_store(config, 28);
  ASSERT_EQ(stores(dir).size(), 1U);
  const auto written = fs::last_write_time(stores(dir)[0]);
  const auto again = open_store(config, 28);
  EXPECT_EQ(fs::last_write_time(stores(dir)[0]), written);
  EXPECT_EQ(test::show(*built), test::show(*again));
  EXPECT_EQ(built->report(), again->report());
  EXPECT_EQ(built->hash(), again->hash());
  EXPECT_GT(built->report().truncated, 0);
  EXPECT_EQ(built->report().dropped.at("bad JSON"), 1);
  int64_t dropped = 0;
  for (const auto& [reason, rows] : built->report().dropped) dropped += rows;
  EXPECT_EQ(built->report().rows, built->report().kept + dropped);
}

TEST(ExampleStore, TheKeyCoversWhateverChangesAnExample) {
  const test::TempDir dir;
  const auto file = dir.write("rows.jsonl", record("a", "b"));
  const DataConfig config = data_config(dir, {file});
  std::set<std::string> hashes = {open_store(config)->hash()};
  const auto differs = [&](const std::string& hash) { return hashes.insert(hash).second; };
  EXPECT_TRUE(differs(open_store(config, 999)->hash()));
  DataConfig other = config;
  other.overlong = OverlongRows::kFail;
  EXPECT_TRUE(differs(open_store(other)->hash()));
  other = config;
  other.faulty_rows = FaultyRows::kDrop;
  EXPECT_TRUE(differs(open_store(other)->hash()));
  other = config;
  other.train[0].strip_suffix = "x";
  EXPECT_TRUE(differs(open_store(other)->hash()));
  EXPECT_TRUE(differs(open_example_store(config, config.train, test::ByteTokenizer(),
                                         test::record_template(true), 1000)
                          ->hash()));
  EXPECT_TRUE(differs(open_example_store(config, config.train, test::ByteTokenizer(true),
                                         test::record_template(), 1000)
                          ->hash()));
  other = config;
  other.train[0].weight = 3;
  other.threads = 1;
  EXPECT_FALSE(differs(open_store(other)->hash())) << "weights and threads change no example";
  EXPECT_EQ(open_store(other)->weight(0), 3);
  dir.write("rows.jsonl", record("a", "c"));
  EXPECT_TRUE(differs(open_store(config)->hash()));
  EXPECT_EQ(test::show(*open_store(config)), Rows{"a>[c$]"});
}

TEST(ExampleStore, TheSameBytesForAnyNumberOfThreads) {
  std::set<std::string> contents;
  for (const int64_t threads : {1, 2, 5}) {
    const test::TempDir dir;
    DataConfig config = data_config(dir, {dir.write("a.jsonl", test::records(3000)),
                                          dir.write("b.jsonl", test::records(700, 5))});
    config.threads = threads;
    const auto store = open_store(config);
    EXPECT_EQ(store->size(), 3700);
    contents.insert(test::read_file(stores(dir).at(0)));
  }
  EXPECT_EQ(contents.size(), 1U);
}

TEST(ExampleStore, FaultsNameFileAndLineWhateverTheThreads) {
  for (const int64_t threads : {1, 4}) {
    const test::TempDir dir;
    const auto file = dir.write(
        "rows.jsonl", test::records(1500) + "{\"q\": \"x\"}\n" + test::records(900) + "oops\n");
    DataConfig config = data_config(dir, {file});
    config.threads = threads;
    const std::string message = error_of([&] { open_store(config); });
    EXPECT_NE(message.find(display_path(file.string()) + ":1501: no field a; the row has q"),
              std::string::npos)
        << message;
    EXPECT_TRUE(stores(dir).empty());
    config.faulty_rows = FaultyRows::kDrop;
    const auto store = open_store(config);
    EXPECT_EQ(store->report().dropped,
              (std::map<std::string, int64_t>{{"bad JSON", 1}, {"missing field", 1}}));
    EXPECT_EQ(store->size(), 2400);
  }
}

TEST(ExampleStore, BadJsonNamesTheColumn) {
  const test::TempDir dir;
  const auto file = dir.write("rows.jsonl", record("a", "b") + "{\"q\": oops}\n");
  EXPECT_NE(
      error_of([&] { open_store(data_config(dir, {file})); }).find("rows.jsonl:2:7: bad JSON"),
      std::string::npos);
}

TEST(ExampleStore, MissingFile) {
  const test::TempDir dir;
  EXPECT_NE(
      error_of([&] { open_store(data_config(dir, {dir / "none.jsonl"})); }).find("no such file"),
      std::string::npos);
}

TEST(ExampleStore, OverlongRows) {
  const test::TempDir dir;
  const auto file =
      dir.write("rows.jsonl", record("a", "b") + record("abcdefgh", "b") + record("a", "abcdefgh"));
  DataConfig config = data_config(dir, {file});
  EXPECT_EQ(test::show(*open_store(config, 5)), Rows{"a>[b$]"});
  EXPECT_EQ(open_store(config, 5)->report().dropped.at("overlong"), 2);
  config.overlong = OverlongRows::kTruncatePromptLeft;
  const auto store = open_store(config, 5);
  EXPECT_EQ(test::show(*store), (Rows{"a>[b$]", "fgh>[b$]"}));
  EXPECT_EQ(store->report().truncated, 1);
  EXPECT_EQ(store->report().dropped.at("overlong completion"), 1);
  config.overlong = OverlongRows::kFail;
  const std::string message = error_of([&] { open_store(config, 5); });
  EXPECT_NE(
      message.find(
          "rows.jsonl:2: the row has 11 tokens (prompt 9, completion 2), the context allows 6"),
      std::string::npos)
      << message;
  EXPECT_NE(message.find("hint: raise the context length"), std::string::npos);
}

TEST(ExampleStore, PlainTextAndMessages) {
  const test::TempDir dir;
  const auto book = dir.write("book.txt", "\xEF\xBB\xBFone\r\n\r\nlonger\r\n");
  const auto store = open_store(data_config(dir, {book}), 4);
  EXPECT_EQ(test::show(*store), (Rows{"o[ne$]", "l[onge]", "e[r$]"}));
  EXPECT_EQ(store->report().rows, 2);
  EXPECT_EQ(store->report().examples, 3);
  EXPECT_EQ(store->where(2), display_path(book.string()) + ":3");
  const auto chat = dir.write("chat.jsonl", R"({"messages": [{"role": "user", "content": "hi"},
)"
                                            "\n");
  EXPECT_NE(error_of([&] { open_store(data_config(dir, {chat})); }).find("chat.jsonl:1"),
            std::string::npos);
  const auto good = dir.write(
      "good.jsonl",
      R"({"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]})");
  const DataConfig config = data_config(dir, {good});
  EXPECT_EQ(test::show(*open_example_store(config, config.train, test::ByteTokenizer(),
                                           test::message_template(), 99)),
            Rows{"U:u;[a$]"});
}

TEST(ExampleStore, DamagedCachesAreRebuilt) {
  const test::TempDir dir;
  const DataConfig config = data_config(dir, {dir.write("rows.jsonl", test::records(20))});
  const Rows expected = test::show(*open_store(config));
  const fs::path path = stores(dir).at(0);
  const std::string whole = test::read_file(path);
  std::string flipped = whole;
  flipped[whole.size() - 200] ^= 1;
  for (const std::string& damaged : {std::string(), whole.substr(0, whole.size() / 2), flipped}) {
    fs::remove(path);  // a mapping of the old file stays valid
    std::ofstream(path, std::ios::binary) << damaged;
    EXPECT_EQ(test::show(*open_store(config)), expected);
    EXPECT_EQ(test::read_file(path), whole);
  }
}

TEST(ExampleStore, AnInterruptLeavesNothingBehind) {
  const test::TempDir dir;
  const DataConfig config = data_config(dir, {dir.write("rows.jsonl", test::records(100))});
  install_interrupt_handlers();
  std::raise(SIGINT);
  EXPECT_NE(error_of([&] { open_store(config); }).find("interrupted"), std::string::npos);
  clear_interrupt();
  remove_interrupt_handlers();
  for (const auto& entry : fs::directory_iterator(dir / "cache")) {
    EXPECT_TRUE(entry.path().extension() == ".lock" || entry.is_directory()) << entry.path();
  }
  EXPECT_EQ(open_store(config)->size(), 100);
}

TEST(ExampleStore, ManyAtOnceAgree) {
  const test::TempDir dir;
  const DataConfig config = data_config(dir, {dir.write("rows.jsonl", test::records(500))});
  std::vector<std::thread> threads;
  std::vector<std::shared_ptr<const ExampleStore>> opened(4);
  for (auto& slot : opened) threads.emplace_back([&slot, &config] { slot = open_store(config); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& store : opened) EXPECT_EQ(store->size(), 500);
  EXPECT_EQ(stores(dir).size(), 1U);
}

std::set<std::string> set_of(const ExampleStore& store) {
  const Rows rows = test::show(store);
  return {rows.begin(), rows.end()};
}

TEST(EvalShare, SplitsByContent) {
  const test::TempDir dir;
  DataConfig config =
      data_config(dir, {dir.write("rows.jsonl", test::records(2000) + test::records(2000))});
  config.eval_share = 0.1;
  const auto train = open_store(config, 1000, Split::kTrain),
             eval = open_store(config, 1000, Split::kEval);
  EXPECT_EQ(train->size() + eval->size(), 4000);
  EXPECT_NEAR(static_cast<double>(eval->size()), 400, 120);
  EXPECT_EQ(train->report().rows + eval->report().rows, 4000);
  const std::set<std::string> held = set_of(*eval);
  for (const std::string& row : test::show(*train)) EXPECT_FALSE(held.contains(row)) << row;

  // Rows added later, in whatever file and spelling, move no other row.
  config.train[0].path =
      dir.write("more.jsonl", test::records(500, 9000) + test::records(2000)).string();
  const std::set<std::string> later = set_of(*open_store(config, 1000, Split::kEval));
  for (const std::string& row : held) EXPECT_TRUE(later.contains(row)) << row;
}

TEST(DataSets, TrainAndEval) {
  const test::TempDir dir;
  DataConfig config = data_config(dir, {dir.write("rows.jsonl", test::records(200))});
  const auto open = [&] {
    return open_data_sets(config, test::ByteTokenizer(), test::record_template(), 100);
  };
  EXPECT_EQ(open().eval, nullptr);
  EXPECT_EQ(open().train->size(), 200);
  config.eval_share = 0.2;
  EXPECT_EQ(open().train->size() + open().eval->size(), 200);
  EXPECT_GT(open().eval->size(), 0);
  config.eval_share = 1e-9;
  EXPECT_NE(error_of(open).find("no row is left to evaluate on: 0 rows"), std::string::npos);
  config.eval_share = 0;
  DataSource source;
  source.path = dir.write("eval.jsonl", record("a", "b")).string();
  config.eval.push_back(source);
  EXPECT_EQ(test::show(*open().eval), Rows{"a>[b$]"});
  EXPECT_NE(error_of([&] {
              open_data_sets(config, test::ByteTokenizer(), test::record_template(), 2);
            }).find("no row is left to train on: 200 rows, 200 dropped (200 overlong)"),
            std::string::npos);
}

}  // namespace
}  // namespace continuo
