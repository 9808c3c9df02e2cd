// Damaged GGUF files give an Error or a readable file, never a crash; meant to run under the
// sanitizers too.
#include <filesystem>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/fuzz.h"
#include "io/gguf.h"
#include "io/gguf_header.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

std::string golden(const char* name) {
  return test::read_file(std::filesystem::path(CONTINUO_SOURCE_DIR) / "tests/golden/gguf" / name);
}

size_t header_bytes(const std::string& bytes) {
  const auto header = parse_gguf_header(std::as_bytes(std::span(bytes)), "sample");
  return static_cast<size_t>(header.data_begin);
}

// True when the bytes are read as a file; every tensor is then touched to its last byte.
bool gguf_readable(const std::string& bytes) {
  const test::MemoryFile damaged(bytes);
  try {
    const GgufFile file(damaged.path());
    for (const auto& [name, info] : file.tensors()) {
      file.blocks(name).clone();
      if (ggml_format(info.type).to_float) file.dequantise(name);
    }
    return true;
  } catch (const Error&) {
    return false;
  }
}

TEST(GgufFuzz, EveryTruncationIsAnError) {
  const std::string bytes = golden("writer.gguf");
  const size_t header = header_bytes(bytes);
  const auto refused = [&](size_t size) {
    try {
      parse_gguf_header(std::as_bytes(std::span(bytes)).first(size), "cut");
      return false;
    } catch (const Error&) {
      return true;
    }
  };
  for (size_t size = 0; size < header; ++size) EXPECT_TRUE(refused(size)) << size;
  EXPECT_TRUE(refused(bytes.size() - 32));  // the last tensor is padded to 32 bytes
  EXPECT_FALSE(refused(bytes.size()));
}

TEST(GgufFuzz, NoDamageCrashes) {
  int refused = 0, total = 0;
  for (const char* name : {"types.gguf", "writer.gguf"}) {
    const std::string bytes = golden(name);
    const size_t end = header_bytes(bytes);
    std::mt19937_64 engine(20);
    for (int i = 0; i < 3000; ++i, ++total) {
      if (!gguf_readable(test::damage(bytes, end, engine))) ++refused;
    }
  }
  EXPECT_GT(refused, total / 2);
  EXPECT_LT(refused, total);
}

}  // namespace
}  // namespace continuo
