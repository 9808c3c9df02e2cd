// `continuo bench load`: from a model's files to its first token, and how fast the same files can
// be read.
#include <utility>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "app/completer.h"
#include "bench/bench.h"
#include "bench/commands.h"
#include "core/config/keys.h"
#include "core/files.h"
#include "core/process.h"
#include "core/system_error.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct LoadBenchConfig {
  BenchModelConfig base;
  ComputeConfig compute;
  bool cold = false;
  int64_t repeats = 3;
};

void fields(FieldVisitor& v, LoadBenchConfig& c) {
  fields(v, c.compute);
  fields(v, c.base);
  v.field("cold", c.cold, "Ask the system to forget the files before each run.");
  v.field("repeats", c.repeats, "Runs; the best one counts.", Range::at_least(1));
}

std::vector<fs::path> weight_files(const fs::path& model) {
  if (is_gguf_file(model)) return {model};
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(model)) {
    const std::string extension = entry.path().extension();
    if (extension == ".safetensors" || extension == ".bin") files.push_back(entry.path());
  }
  return files;
}

FileDescriptor open_file(const fs::path& path) {
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) throw system_error("read", path, errno);
  return file;
}

void forget(const std::vector<fs::path>& files) {
  for (const fs::path& path : files)
    ::posix_fadvise(open_file(path).get(), 0, 0, POSIX_FADV_DONTNEED);
}

// Seconds to read all of them, as `dd bs=8M` does.
double read_seconds(const std::vector<fs::path>& files) {
  std::vector<char> block(8 << 20);
  const double start = seconds_now();
  for (const fs::path& path : files) {
    const FileDescriptor file = open_file(path);
    while (::read(file.get(), block.data(), block.size()) > 0) {
    }
  }
  return seconds_now() - start;
}

struct LoadTimes {
  double open, pack, first_token;  // one after the other
  double at_once;                  // the first two as `generate` does them
  double total() const { return open + pack + first_token; }
};

LoadTimes load_in_turn(const fs::path& model, const Compute& compute) {
  const double start = seconds_now();
  OpenModel opened = {
      open_model_directory(
          model, {.device = compute.device, .dtype = compute.dtype, .held = Held::stored}),
      {}};
  const double open = seconds_now();
  opened.served = serve_model(opened.directory.model.decoder, compute.executor);
  Completer completer(std::move(opened));
  const double packed = seconds_now();
  GenerationConfig config;
  config.max_new_tokens = 1;
  config.ignore_eos = true;
  const std::vector<TokenId> prompt = {1, 2, 3, 4, 5};
  completer.complete({&prompt, 1}, config);
  return {open - start, packed - open, seconds_now() - packed, 0};
}

double load_at_once(const fs::path& model, const Compute& compute) {
  const double start = seconds_now();
  const OpenModel opened = open_served_model(model, compute);
  return seconds_now() - start;
}

void bench_load(const std::string& directory, const LoadBenchConfig& c) {
  if (directory.empty())
    throw Error::usage("there is nothing to load", "name a model: --model DIR");
  const Compute compute = start_compute(c.compute);
  const fs::path model = resolve_model_directory(directory);
  const std::vector<fs::path> files = weight_files(model);
  double bytes = 0;
  for (const fs::path& file : files) bytes += static_cast<double>(fs::file_size(file));
  LoadTimes best = {};
  double read = 0;
  for (int64_t r = 0; r < c.repeats; ++r) {
    if (c.cold) forget(files);
    const double seconds = read_seconds(files);
    if (r == 0 || seconds < read) read = seconds;
    if (c.cold) forget(files);
    LoadTimes times = load_in_turn(model, compute);
    if (c.cold) forget(files);
    times.at_once = load_at_once(model, compute);
    if (r == 0 || times.total() < best.total()) best = times;
  }
  print_bench_line({{"what", "load"},
                    {"weights", enum_name(c.compute.weights)},
                    {"cold", c.cold},
                    {"source_mb", bytes / 1e6},
                    {"open_s", best.open},
                    {"pack_s", best.pack},
                    {"first_token_s", best.first_token},
                    {"total_s", best.total()},
                    {"at_once_s", best.at_once},
                    {"pack_gb_per_s", bytes / best.pack / 1e9},
                    {"read_gb_per_s", bytes / read / 1e9}},
                   compute);
}

}  // namespace

void add_bench_load_command(CLI::App& bench) {
  add_bench_model_command(bench, "load", "From a model's files to its first token", bench_load);
}

}  // namespace continuo
