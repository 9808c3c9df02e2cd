// `bench` and its subcommands. Each adds itself to its parent with a callback that does the work.
#pragma once

namespace CLI {
class App;
}

namespace continuo {

void add_bench_command(CLI::App& app);
// Below `bench`:
void add_bench_train_command(CLI::App& bench);
void add_bench_generate_command(CLI::App& bench);
void add_bench_sample_command(CLI::App& bench);
void add_bench_draft_command(CLI::App& bench);
void add_bench_streams_command(CLI::App& bench);
void add_bench_tokenize_command(CLI::App& bench);
void add_bench_data_command(CLI::App& bench);
void add_bench_load_command(CLI::App& bench);
void add_bench_products_command(CLI::App& bench);
void add_bench_ranks_command(CLI::App& bench);
void add_bench_roof_command(CLI::App& bench);

}  // namespace continuo
