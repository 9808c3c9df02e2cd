// `continuo bench roof`: what this machine can do at most.
#include <nlohmann/json.hpp>

#include "app/compute_config.h"
#include "bench/bench.h"
#include "bench/commands.h"
#include "bench/roofline.h"

namespace continuo {
namespace {

struct RoofConfig {
  int64_t threads = 0;
  int64_t rows = 1664;
  int64_t hidden = 576;
  int64_t intermediate = 1536;
  double seconds = 0.5;
};

void fields(FieldVisitor& v, RoofConfig& c) {
  threads_field(v, c.threads);
  v.field("rows", c.rows, "Tokens of the products.", Range::at_least(1));
  v.field("hidden", c.hidden, "Width of the model.", Range::at_least(1));
  v.field("intermediate", c.intermediate, "Width of its MLP.", Range::at_least(1));
  v.field("seconds", c.seconds, "Time of each measurement.", Range::between(0.01, 60));
}

void bench_roof(const RoofConfig& c) {
  const int64_t threads = set_threads(c.threads);
  const auto print = [](nlohmann::json line, const char* unit, const Rate& rate, int64_t used) {
    line[std::string(unit)] = rate.best / 1e9;
    line[std::string(unit) + "_median"] = rate.median / 1e9;
    print_bench_line(std::move(line), used);
  };
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const auto& [in, out] :
         {std::pair{c.hidden, c.intermediate}, {c.intermediate, c.hidden}, {c.hidden, c.hidden}}) {
      print({{"what", "product"},
             {"dtype", dtype_name(dtype)},
             {"rows", c.rows},
             {"in", in},
             {"out", out}},
            "gflop_per_s", measure_product({c.rows, in, out}, dtype, c.seconds), threads);
    }
  }
  const std::vector<int64_t> counts =
      threads > 1 ? std::vector<int64_t>{1, threads} : std::vector<int64_t>{1};
  for (const int64_t used : counts) {
    print({{"what", "read"}, {"bytes", uncached_bytes()}}, "gb_per_s",
          measure_read(uncached_bytes(), used, c.seconds), used);
  }
  for (const int64_t used : counts) {
    print({{"what", "multiply_add"}, {"dtype", "fp32"}}, "gflop_per_s",
          measure_multiply_add(used, c.seconds), used);
  }
}

}  // namespace

void add_bench_roof_command(CLI::App& bench) {
  auto overrides = std::make_shared<std::vector<std::string>>();
  CLI::App* command =
      bench.add_subcommand("roof", "The most that this machine multiplies and reads");
  command->add_option("overrides", *overrides, "key=value settings");
  command->footer([] { return "Keys:\n" + config_help<RoofConfig>(); });
  command->callback([overrides] { bench_roof(read_bench_config<RoofConfig>(*overrides)); });
}

}  // namespace continuo
