#include <gtest/gtest.h>

#include "core/config/config.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

using Kind = ConfigNode::Kind;
using test::expect_error;
using test::TempDir;

TEST(ParseYaml, KeepsPlacesOrderAndQuotes) {
  ConfigNode root = parse_yaml("b: 1\na:\n  x: 'q'\n  y: [1, two]\n", "c.yaml");
  ASSERT_EQ(root.kind, Kind::kMap);
  EXPECT_EQ(root.fields[0].first, "b");
  EXPECT_EQ(root.fields[1].first, "a");
  EXPECT_EQ(root.find("b")->where.str(), "c.yaml:1:4");
  const ConfigNode& a = *root.find("a");
  EXPECT_EQ(a.find("x")->where.str(), "c.yaml:3:6");
  EXPECT_TRUE(a.find("x")->quoted);
  EXPECT_FALSE(root.find("b")->quoted);
  ASSERT_EQ(a.find("y")->items.size(), 2u);
  EXPECT_EQ(a.find("y")->items[1].scalar, "two");
  EXPECT_EQ(a.find("y")->items[1].where.str(), "c.yaml:4:10");
  EXPECT_EQ(root.find("nope"), nullptr);
}

TEST(ParseYaml, TildeIsNothingUnlessQuoted) {
  ConfigNode root =
      parse_yaml("a: ~\nb: '~'\nc: null\nd: \"null\"\ne:\nf: ~/data\ng: !!str 5\nh: |\n  t\n", "c");
  EXPECT_EQ(root.find("a")->kind, Kind::kNull);
  EXPECT_EQ(root.find("b")->kind, Kind::kScalar);
  EXPECT_EQ(root.find("b")->scalar, "~");
  EXPECT_EQ(root.find("c")->kind, Kind::kNull);
  EXPECT_EQ(root.find("d")->scalar, "null");
  EXPECT_EQ(root.find("e")->kind, Kind::kNull);
  EXPECT_EQ(root.find("e")->where.line, 5);
  EXPECT_EQ(root.find("f")->scalar, "~/data");
  EXPECT_TRUE(root.find("g")->quoted);
  EXPECT_EQ(root.find("h")->scalar, "t\n");
  EXPECT_TRUE(root.find("h")->quoted);
}

TEST(ParseYaml, EmptyIsNull) {
  EXPECT_EQ(parse_yaml("", "c").kind, Kind::kNull);
  EXPECT_EQ(parse_yaml("# only a comment\n", "c").kind, Kind::kNull);
}

TEST(ParseYaml, FaultsHavePlaces) {
  expect_error([] { parse_yaml("a: 1\nb: [1, 2\nc: 3\n", "c.yaml"); }, {"c.yaml:", "invalid YAML"});
  expect_error([] { parse_yaml("a:\n  - 1\n b: 2\n", "c.yaml"); }, {"c.yaml:3", "invalid YAML"});
  expect_error([] { parse_yaml("a: 1\nb: 2\na: 3\n", "c.yaml"); },
               {"c.yaml:3:1", "the key a is given twice", "first at c.yaml:1:4"});
  expect_error([] { parse_yaml("x: {a: 1, a: 2}\n", "c.yaml"); }, {"c.yaml:1:11", "given twice"});
  expect_error([] { parse_yaml("[a, b]: 1\n", "c.yaml"); }, {"c.yaml:1:1", "single word"});
  expect_error([] { parse_yaml("a: 1\n---\nb: 2\n", "c.yaml"); },
               {"c.yaml", "several YAML documents"});
  expect_error([] { parse_yaml("a: 1\nb: \xff\n", "c.yaml"); }, {"c.yaml:2:4", "not UTF-8"});
  expect_error([] { parse_yaml("a: *nowhere\n", "c.yaml"); }, {"c.yaml:1", "invalid YAML"});
}

TEST(ParseYaml, HostileNestingIsRefused) {
  expect_error([] { parse_yaml("a: " + std::string(300, '['), "c"); }, {"c"});
  expect_error([] { parse_yaml("a: " + std::string(200, '[') + std::string(200, ']'), "c"); },
               {"too deeply"});
  expect_error([] { parse_yaml("&a [*a]", "c"); }, {"c:1"});
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    bomb += fmt::format("a{}: &a{} [", i, i);
    for (int j = 0; j < 10; ++j) bomb += fmt::format("{}*a{}", j ? ", " : "", i - 1);
    bomb += "]\n";
  }
  expect_error([&] { parse_yaml(bomb, "c"); }, {"too many values"});
}

TEST(LoadYaml, ExtendsMergesMapsAndReplacesTheRest) {
  TempDir dir;
  dir.write("base/a.yaml", "extends: b.yaml\nopt: {lr: 1, decay: cosine}\nlist: [1, 2]\n");
  dir.write("base/b.yaml", "opt: {lr: 0, eps: 5}\nseed: 7\n");
  auto path = dir.write("run.yaml", "extends: base/a.yaml\nopt:\n  lr: 3\nlist: [9]\n");
  ConfigNode root = load_yaml(path);
  EXPECT_EQ(root.find("extends"), nullptr);
  EXPECT_EQ(find_path(root, "opt.lr")->scalar, "3");
  EXPECT_EQ(locate(root, "opt.lr").str(), path.string() + ":3:7");
  EXPECT_EQ(find_path(root, "opt.decay")->scalar, "cosine");
  EXPECT_EQ(find_path(root, "opt.eps")->where.file, (dir / "base/b.yaml").string());
  EXPECT_EQ(find_path(root, "seed")->scalar, "7");
  ASSERT_EQ(find_path(root, "list")->items.size(), 1u);
}

TEST(LoadYaml, LaterBasesWinAndDiamondsAreFine) {
  TempDir dir;
  dir.write("root.yaml", "x: 0\ny: 0\n");
  dir.write("a.yaml", "extends: root.yaml\nx: 1\n");
  dir.write("b.yaml", "extends: root.yaml\ny: 2\n");
  ConfigNode root = load_yaml(dir.write("c.yaml", "extends: [a.yaml, b.yaml]\n"));
  EXPECT_EQ(root.find("x")->scalar, "0");  // b.yaml brings root.yaml's x again
  EXPECT_EQ(root.find("y")->scalar, "2");
}

TEST(LoadYaml, ExtendsFaults) {
  TempDir dir;
  dir.write("a.yaml", "extends: b.yaml\n");
  dir.write("b.yaml", "x: 1\nextends: ./a.yaml\n");
  expect_error([&] { load_yaml(dir / "a.yaml"); },
               {"b.yaml:2:10", "circle", "a.yaml → b.yaml → a.yaml"});
  dir.write("self.yaml", "extends: self.yaml\n");
  expect_error([&] { load_yaml(dir / "self.yaml"); }, {"self.yaml:1:10", "circle"});
  dir.write("c.yaml", "extends: missing.yaml\n");
  expect_error([&] { load_yaml(dir / "c.yaml"); }, {"c.yaml:1:10", "missing.yaml", "No such file"});
  dir.write("d.yaml", "extends: {a: 1}\n");
  expect_error([&] { load_yaml(dir / "d.yaml"); }, {"d.yaml:1:10", "extends takes"});
  expect_error([&] { load_yaml(dir / "none.yaml"); }, {"none.yaml", "No such file"});
  dir.write("list.yaml", "- 1\n");
  expect_error([&] { load_yaml(dir / "list.yaml"); }, {"list.yaml:1:1", "key: value"});
}

TEST(LoadYaml, FilesThatSayNothing) {
  TempDir dir;
  dir.write("base.yaml", "x: 1\n");
  dir.write("empty.yaml", "# nothing\n");
  EXPECT_EQ(load_yaml(dir / "empty.yaml").kind, Kind::kNull);
  EXPECT_EQ(load_yaml(dir.write("a.yaml", "extends: base.yaml\n")).find("x")->scalar, "1");
  EXPECT_EQ(load_yaml(dir.write("b.yaml", "extends: empty.yaml\ny: 2\n")).find("y")->scalar, "2");
}

}  // namespace
}  // namespace continuo
