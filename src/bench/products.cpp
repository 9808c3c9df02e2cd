// `continuo bench products`: the matrix products of a training step, beside what the cores can do.
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>
#include <nlohmann/json.hpp>

#include "app/compute_config.h"
#include "bench/bench.h"
#include "bench/commands.h"
#include "bench/roofline.h"
#include "core/process.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/matmul.h"

namespace continuo {
namespace {

struct ProductsConfig {
  int64_t threads = 0;
  ComputeType dtype = ComputeType::kFloat32;
  std::vector<int64_t> rows = {512, 2048};
  int64_t hidden = 576;
  int64_t intermediate = 1536;
  int64_t vocabulary = 49152;
  int64_t turns = 41;
};

void fields(FieldVisitor& v, ProductsConfig& c) {
  threads_field(v, c.threads);
  v.field("dtype", c.dtype, "Products in fp32 or bf16.");
  v.field("rows", c.rows, "Numbers of tokens.");
  v.field("hidden", c.hidden, "Width of the model.", Range::at_least(1));
  v.field("intermediate", c.intermediate, "Width of its MLP.", Range::at_least(1));
  v.field("vocabulary", c.vocabulary, "Width of its head.", Range::at_least(1));
  v.field("turns", c.turns, "Times that a product and multiply-adds are measured in turn.",
          Range::at_least(1));
}

struct Product {
  std::string_view name;
  std::function<void()> run;
};

// A layer's three products with x [rows, in], w [out, in] and the gradient g [rows, out] of its
// output.
std::vector<Product> layer_products(const ProductShape& s, c10::ScalarType dtype) {
  const auto random = [&](int64_t rows, int64_t columns) {
    return at::randn({rows, columns}).to(dtype);
  };
  const at::Tensor x = random(s.rows, s.in), w = random(s.out, s.in), g = random(s.rows, s.out);
  return {{"forward", [=] { matmul_nt(x, w); }},
          {"input_gradient", [=] { matmul_nn(g, w); }},
          {"weight_gradient", [=] { matmul_tn(g, x, at::kFloat); }}};
}

// Both in turn and for a few milliseconds each, because a shared machine's clock is restless;
// medians, and that of their ratios.
nlohmann::json measure(const Product& product, double flop, int64_t turns, int64_t threads) {
  product.run();
  std::vector<double> rates, roofs, shares;
  for (int64_t turn = 0; turn < turns; ++turn) {
    const double start = seconds_now();
    int64_t runs = 0;
    while (seconds_now() - start < 5e-3) product.run(), ++runs;
    const double middle = seconds_now();
    const double multiply_adds = run_multiply_adds(threads);
    rates.push_back(flop * static_cast<double>(runs) / (middle - start));
    roofs.push_back(multiply_adds / (seconds_now() - middle));
    shares.push_back(rates.back() / roofs.back());
  }
  return {{"product", product.name},
          {"gflop_per_s", median(rates) / 1e9},
          {"multiply_add_gflop_per_s", median(roofs) / 1e9},
          {"share", median(shares)}};
}

void bench_products(const ProductsConfig& c) {
  const c10::InferenceMode guard;
  const int64_t threads = set_threads(c.threads);
  const at::ScalarType dtype = products_dtype(c.dtype, false, at::kCPU, kernels().instruction_set);
  for (const int64_t rows : c.rows) {
    for (const auto& [in, out] : {std::pair{c.hidden, c.hidden},
                                  {c.hidden, c.intermediate},
                                  {c.intermediate, c.hidden},
                                  {c.hidden, c.vocabulary}}) {
      const ProductShape shape = {rows, in, out};
      for (const Product& product : layer_products(shape, dtype)) {
        nlohmann::json line = measure(product, shape.flop(), c.turns, threads);
        line.update({{"what", "training_product"},
                     {"dtype", dtype_name(dtype)},
                     {"rows", rows},
                     {"in", in},
                     {"out", out}});
        print_bench_line(std::move(line), threads);
      }
    }
  }
}

}  // namespace

void add_bench_products_command(CLI::App& bench) {
  auto overrides = std::make_shared<std::vector<std::string>>();
  CLI::App* command = bench.add_subcommand(
      "products", "The matrix products of a training step, and what the cores can do");
  command->add_option("overrides", *overrides, "key=value settings");
  command->footer([] { return "Keys:\n" + config_help<ProductsConfig>(); });
  command->callback([overrides] { bench_products(read_bench_config<ProductsConfig>(*overrides)); });
}

}  // namespace continuo
