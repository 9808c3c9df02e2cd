#include "io/pickle.h"

#include <string>

#include <gtest/gtest.h>

#include "io/error_text.h"
#include "io/zip_builder.h"

namespace continuo {
namespace {

using namespace std::string_literals;
using test::bytes_of;
using test::contains;
using test::error_text;
using Kind = PickleNode::Kind;

bool allow(std::string_view global) {
  return global == "collections.OrderedDict" || global == "good.call";
}

struct Pickled {
  std::string text;
  PickleDocument document;

  explicit Pickled(const std::string& body)
      : text("\x80\x02" + body + "."), document(read_pickle(bytes_of(text), "x.pkl", allow)) {}
  const PickleNode& node() const { return *std::get<const PickleNode*>(document.root); }
  template <class T>
  T value() const {
    return std::get<T>(document.root);
  }
};

std::string fault(const std::string& text) {
  return error_text([&] { read_pickle(bytes_of(text), "x.pkl", allow); });
}
std::string fault_of(const std::string& body) { return fault("\x80\x02" + body + "."); }

TEST(Pickle, Constants) {
  EXPECT_TRUE(std::holds_alternative<std::monostate>(Pickled("N").document.root));
  EXPECT_TRUE(Pickled("\x88").value<bool>());
  EXPECT_FALSE(Pickled("\x89").value<bool>());
  EXPECT_EQ(Pickled("J\xfe\xff\xff\xff"s).value<int64_t>(), -2);
  EXPECT_EQ(Pickled("K\xff"s).value<int64_t>(), 255);
  EXPECT_EQ(Pickled("M\x01\x02"s).value<int64_t>(), 513);
  EXPECT_EQ(Pickled("\x8a\x00"s).value<int64_t>(), 0);
  EXPECT_EQ(Pickled("\x8a\x01\xff"s).value<int64_t>(), -1);
  EXPECT_EQ(Pickled("\x8a\x02\xff\x00"s).value<int64_t>(), 255);
  EXPECT_EQ(Pickled("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"s).value<int64_t>(), INT64_MAX);
  EXPECT_EQ(Pickled("\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x00"s).node().kind, Kind::kHuge);
  EXPECT_EQ(Pickled("G\x3f\xe0\x00\x00\x00\x00\x00\x00"s).value<double>(), 0.5);
  EXPECT_EQ(Pickled("X\x02\x00\x00\x00hi"s).value<std::string_view>(), "hi");
  EXPECT_EQ(Pickled("U\x02hi"s).value<std::string_view>(), "hi");
  EXPECT_EQ(Pickled("\x8c\x02hi"s).value<std::string_view>(), "hi");
}

TEST(Pickle, Containers) {
  EXPECT_EQ(Pickled("K\x01K\x02K\x03\x87"s).node().values.size(), 3U);
  EXPECT_EQ(Pickled("(K\x01K\x02t"s).node().values.size(), 2U);
  EXPECT_EQ(Pickled("](K\x01K\x02"
                    "e"s)
                .node()
                .values.size(),
            2U);
  EXPECT_EQ(Pickled("]K\x01"
                    "a"s)
                .node()
                .kind,
            Kind::kList);
  EXPECT_EQ(Pickled("}(K\x01K\x02u"s).node().items.size(), 1U);
  EXPECT_EQ(Pickled("\x8f(K\x01\x90"s).node().kind, Kind::kSet);
  EXPECT_EQ(Pickled("NK\x01"
                    "0"s)
                .document.root,
            PickleValue(std::monostate()));
  EXPECT_EQ(Pickled("N(K\x01"
                    "1"s)
                .document.root,
            PickleValue(std::monostate()));
  const Pickled twice("]q\x05h\x05\x86"s);
  EXPECT_EQ(twice.node().values.at(0), twice.node().values.at(1));
}

TEST(Pickle, CallsStayDescriptions) {
  const Pickled call("cgood\ncall\nK\x07\x85R"s);
  EXPECT_EQ(call.node().kind, Kind::kCall);
  EXPECT_EQ(call.node().name, "good.call");
  EXPECT_EQ(std::get<int64_t>(call.node().values.at(0)), 7);
  const Pickled dict("ccollections\nOrderedDict\n)RK\x01K\x02s}b"s);
  EXPECT_EQ(dict.node().items.size(), 1U);
  EXPECT_EQ(Pickled("\x8c\x04good\x8c\x04"
                    "call\x93)\x81"s)
                .node()
                .kind,
            Kind::kCall);
  EXPECT_EQ(Pickled("K\x01Q"s).node().kind, Kind::kPersistent);
}

TEST(Pickle, GlobalsThatAreNotAllowedEndTheReading) {
  EXPECT_TRUE(contains(fault_of("cposix\nsystem\n"), "x.pkl: posix.system is not allowed"));
  EXPECT_TRUE(contains(fault_of("\x8c\x08"
                                "builtins\x8c\x04"
                                "eval\x93"),
                       "builtins.eval is not"));
  EXPECT_TRUE(contains(fault_of("cgood\ncall.evil\n"), "good.call.evil is not allowed"));
  EXPECT_TRUE(contains(fault_of("c\x01\xff\n" + std::string(1000, 'x') + "\n"), "is not allowed"));
  EXPECT_LT(fault_of("ca\n" + std::string(100000, 'x') + "\n").size(), 1000U);
  // Protocol 0 and 1 spell globals otherwise; extension codes hide them.
  EXPECT_TRUE(contains(fault_of("(iposix\nsystem\n"), "not supported"));
  EXPECT_TRUE(contains(fault_of("\x82\x01"), "not supported"));
}

TEST(Pickle, Malformed) {
  EXPECT_TRUE(contains(fault(""), "truncated"));
  EXPECT_TRUE(contains(fault("(lp0\n."), "protocol"));
  EXPECT_TRUE(contains(fault("\x80\x07N."), "protocol 7"));
  EXPECT_TRUE(contains(fault("\x80\x02N"), "truncated"));
  EXPECT_TRUE(contains(fault_of(""), "nothing is on the stack"));
  EXPECT_TRUE(contains(fault_of("t"), "no mark"));
  EXPECT_TRUE(contains(fault_of("N(a"), "nothing is on the stack"));
  EXPECT_TRUE(contains(fault_of("h\x01"), "nothing was memorised as 1"));
  EXPECT_TRUE(contains(fault_of("NK\x01"
                                "a"),
                       "something else than a container"));
  EXPECT_TRUE(contains(fault_of(")K\x01"
                                "a"),
                       "something else than a container"));
  EXPECT_TRUE(contains(fault_of("}(K\x01u"), "a key without a value"));
  EXPECT_TRUE(contains(fault_of("N)R"), "no function"));
  EXPECT_TRUE(contains(fault_of("cgood\ncall\nNR"), "no function"));
  EXPECT_TRUE(contains(fault_of("cgood\ncall\n)R}b"), "attributes of an object of good.call"));
  EXPECT_TRUE(contains(fault_of("X\xff\xff\xff\xff"), "truncated"));
  EXPECT_TRUE(contains(fault_of("\x8d\xff\xff\xff\xff\xff\xff\xff\xff"), "truncated"));
  EXPECT_TRUE(contains(fault_of("cgood"), "truncated"));
}

TEST(Pickle, SelfReferenceAndBombs) {
  const Pickled loop(
      "]q\x01h\x01"
      "a"s);
  EXPECT_EQ(std::get<const PickleNode*>(loop.node().values.at(0)), &loop.node());
  // Each level doubles what a naive printer would visit; here it is one node.
  std::string doubling = "]q"s + '\0';
  for (int i = 0; i < 100; ++i) doubling += "h"s + '\0' + "h"s + '\0' + "\x86q"s + '\0';
  EXPECT_EQ(Pickled(doubling).document.nodes.size(), 101U);
  EXPECT_TRUE(contains(fault_of(std::string(9'000'000, 'N')), "more than 8000000 objects"));
}

}  // namespace
}  // namespace continuo
