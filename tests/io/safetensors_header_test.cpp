#include "io/safetensors_header.h"

#include <string>

#include <gtest/gtest.h>

#include "io/error_text.h"

namespace continuo {
namespace {

using test::contains;
using test::error_text;

std::string fault(const std::string& json, int64_t data_bytes) {
  return error_text([&] { parse_safetensors_header(json, data_bytes, "file.safetensors"); });
}

// The header of one tensor "a", from the text of its fields.
std::string one(const std::string& fields) { return "{\"a\":{" + fields + "}}"; }

TEST(SafetensorsHeader, ReadsTensorsAndMetadata) {
  const SafetensorsHeader header = parse_safetensors_header(
      R"({"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},"__metadata__":{"format":"pt"},)"
      R"("a":{"data_offsets":[0,4],"shape":[],"dtype":"F32"}}   )",
      16, "file");
  ASSERT_EQ(header.tensors.size(), 2u);
  EXPECT_EQ(header.tensors.at("a").dtype, at::kFloat);
  EXPECT_TRUE(header.tensors.at("a").shape.empty());
  EXPECT_EQ(header.tensors.at("b").dtype, at::kBFloat16);
  EXPECT_EQ(header.tensors.at("b").shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(header.tensors.at("b").begin, 4);
  EXPECT_EQ(header.metadata.at("format"), "pt");
}

TEST(SafetensorsHeader, AcceptsNoTensorsAndEmptyTensors) {
  EXPECT_TRUE(parse_safetensors_header("{}", 0, "file").tensors.empty());
  EXPECT_EQ(fault(R"({"a":{"dtype":"F32","shape":[0,4],"data_offsets":[0,0]},)"
                  R"("b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
                  4),
            "");
}

TEST(SafetensorsHeader, NamesTheFileAndTheField) {
  const std::string good = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";
  const struct {
    std::string json, message;
  } cases[] = {
      {"", "does not begin with '{'"},
      {" {}", "does not begin with '{'"},
      {"[]", "does not begin with '{'"},
      {"{", "not valid JSON"},
      {"{} x", "not valid JSON"},
      {std::string("{}\0", 3), "not valid JSON"},
      {"{\"\xff\":1}", "not valid JSON"},
      {R"({"a":1})", "a number where an object belongs"},
      {R"({"a":[1]})", "a list where an object belongs"},
      {"{\"a\":{" + good + "},\"a\":{" + good + "}}", "the name 'a' comes twice"},
      {R"({"__metadata__":{"k":"1","k":"2"}})", "metadata key 'k' comes twice"},
      {R"({"__metadata__":{"k":1}})", "metadata 'k' is a number instead of a string"},
      {R"({"__metadata__":{"k":{}}})", "metadata 'k' is an object"},
      {R"({"__metadata__":{},"__metadata__":{}})", "the name '__metadata__' comes twice"},
      {one(good + R"(,"dtype":"F32")"), "'dtype' twice"},
      {one(R"("shape":[],"shape":[])"), "'shape' twice"},
      {one(good + R"(,"extra":1)"), "unknown field 'extra'"},
      {one(R"("dtype":"F31","shape":[1],"data_offsets":[0,4])"), "unknown dtype 'F31'"},
      {one(R"("dtype":1,"shape":[1],"data_offsets":[0,4])"), "'dtype' holds a number"},
      {one(R"("dtype":"F32","shape":1,"data_offsets":[0,4])"), "'shape' holds a number"},
      {one(R"("dtype":"F32","shape":["1"],"data_offsets":[0,4])"), "'shape' holds a string"},
      {one(R"("dtype":"F32","shape":[[1]],"data_offsets":[0,4])"), "'shape' holds a list"},
      {one(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])"),
       "'shape' holds a negative number"},
      {one(R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])"), "'shape' holds a non-integer"},
      {one(R"("dtype":"F32","shape":[1e0],"data_offsets":[0,4])"), "'shape' holds a non-integer"},
      {one(R"("dtype":"F32","shape":[true],"data_offsets":[0,4])"), "'shape' holds a boolean"},
      {one(R"("dtype":"F32","shape":[null],"data_offsets":[0,4])"), "'shape' holds null"},
      {one(R"("dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4])"), "huge number"},
      {one(R"("dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4])"), "huge number"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[0])"), "no pair 'data_offsets'"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4,8])"),
       "'data_offsets' holds too long a list"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])"), "ends before it begins"},
      {one(R"("shape":[1],"data_offsets":[0,4])"), "has no 'dtype'"},
      {one(R"("dtype":"F32","data_offsets":[0,4])"), "has no 'shape'"},
      {one(R"("dtype":"F32","shape":[1])"), "no pair 'data_offsets'"},
      {one(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"), "needs 8 bytes"},
      {one(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4])"), "overflows"},
      {one(R"("dtype":"F32","shape":[0,9223372036854775807],"data_offsets":[0,0])"), "overflows"},
      {one(R"("dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0])"), "overflows"},
  };
  for (const auto& c : cases) {
    const std::string text = fault(c.json, 4);
    EXPECT_TRUE(contains(text, c.message)) << c.json << "\n  gave: " << text;
    EXPECT_TRUE(contains(text, "file.safetensors")) << text;
  }
}

TEST(SafetensorsHeader, TensorsMustTileTheData) {
  auto two = [](int a, int b, int c, int d) {
    return fmt::format(R"({{"a":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}},)"
                       R"("b":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}}}})",
                       b - a, a, b, d - c, c, d);
  };
  EXPECT_EQ(fault(two(0, 4, 4, 8), 8), "");
  EXPECT_EQ(fault(two(4, 8, 0, 4), 8), "");  // file order need not be name order
  EXPECT_TRUE(contains(fault(two(0, 4, 3, 7), 7), "overlap or hole"));
  EXPECT_TRUE(contains(fault(two(0, 4, 0, 4), 4), "overlap or hole"));
  EXPECT_TRUE(contains(fault(two(0, 4, 5, 9), 9), "overlap or hole"));
  EXPECT_TRUE(contains(fault(two(1, 4, 4, 8), 8), "overlap or hole"));
  EXPECT_TRUE(contains(fault(two(0, 4, 4, 8), 7), "truncated"));
  EXPECT_TRUE(contains(fault(two(0, 4, 4, 8), 9), "1 bytes follow the last tensor"));
}

TEST(SafetensorsHeader, DeepNestingIsRefusedWithoutRecursion) {
  EXPECT_NE(fault("{\"a\":" + std::string(2'000'000, '['), 0), "");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_NE(fault(objects, 0), "");
}

TEST(SafetensorsHeader, EncodesWhatItParses) {
  const std::vector<std::pair<std::string, TensorInfo>> tensors = {
      {"w \"quoted\"\n", {at::kHalf, {2, 2}, 0, 8}}, {"scalar", {at::kFloat, {}, 8, 12}}};
  const std::string json = encode_safetensors_header(tensors, {{"format", "pt"}, {"a", "ä"}});
  EXPECT_EQ(json.size() % 8, 0u);
  const SafetensorsHeader header = parse_safetensors_header(json, 12, "file");
  EXPECT_EQ(header.tensors.at("w \"quoted\"\n").shape, (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(header.tensors.at("scalar").end, 12);
  EXPECT_EQ(header.metadata.at("a"), "ä");
}

}  // namespace
}  // namespace continuo
