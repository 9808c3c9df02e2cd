// `continuo bench data`: how long a data set takes to be ready for training, when it is new and
// when it is known.
#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include "app/model_directory.h"
#include "bench/bench.h"
#include "bench/commands.h"
#include "bench/rows.h"
#include "core/process.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;

// A directory of its own for a cache that nothing has filled, removed at the end.
class FreshCache {
 public:
  FreshCache() {
    std::string pattern = (fs::temp_directory_path() / "continuo-bench-XXXXXX").string();
    if (!mkdtemp(pattern.data()))
      throw Error("cannot make a directory in " + fs::temp_directory_path().string());
    path_ = pattern;
  }
  ~FreshCache() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  FreshCache(const FreshCache&) = delete;
  FreshCache& operator=(const FreshCache&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

void bench_data(const std::string& directory, BenchRowsConfig c) {
  const FreshCache cache;
  c.cache = cache.path().string();
  const auto timed = [](const auto& f) {
    const double start = seconds_now();
    const auto result = f();
    return std::pair(result, seconds_now() - start);
  };
  const auto [tokenizer, tokenizer_seconds] =
      timed([&] { return load_model_tokenizer(resolve_model_directory(directory)); });
  const auto open = [&, &words = *tokenizer] { return open_bench_rows(c, words); };
  const auto [store, cold] = timed(open);
  const double cached = timed(open).second;
  print_bench_line({{"what", "data"},
                    {"data", c.data},
                    {"rows", store->size()},
                    {"tokens", store->report().tokens},
                    {"tokenizer_seconds", tokenizer_seconds},
                    {"cold_seconds", cold},
                    {"cached_seconds", cached}},
                   std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
}

}  // namespace

void add_bench_data_command(CLI::App& bench) {
  struct Arguments {
    std::string directory;
    std::vector<std::string> overrides;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      bench.add_subcommand("data", "Prepare the rows of a file for training, then open them again");
  command->add_option("MODEL", arguments->directory, "Model whose tokenizer is used")->required();
  command->add_option("overrides", arguments->overrides, "key=value settings");
  command->footer(
      [] { return "Keys (cache does not count here):\n" + config_help<BenchRowsConfig>(); });
  command->callback([arguments] {
    bench_data(arguments->directory, read_bench_config<BenchRowsConfig>(arguments->overrides));
  });
}

}  // namespace continuo
