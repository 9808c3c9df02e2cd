// The subcommands. Each adds itself to the application with a callback that does the work; results
// go to standard output, everything else to standard error.
#pragma once

namespace CLI {
class App;
}

namespace continuo {

void add_train_command(CLI::App& app);
void add_eval_command(CLI::App& app);
void add_generate_command(CLI::App& app);
void add_merge_command(CLI::App& app);
void add_inspect_command(CLI::App& app);
void add_convert_command(CLI::App& app);
void add_bench_command(CLI::App& app);
void add_completion_command(CLI::App& app);
// Below `bench`:
void add_bench_train_command(CLI::App& bench);
void add_bench_generate_command(CLI::App& bench);
void add_bench_sample_command(CLI::App& bench);
void add_bench_draft_command(CLI::App& bench);
void add_bench_tokenize_command(CLI::App& bench);
void add_bench_data_command(CLI::App& bench);
void add_bench_roof_command(CLI::App& bench);

}  // namespace continuo
