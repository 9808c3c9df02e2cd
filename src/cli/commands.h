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
void add_completion_command(CLI::App& app);

}  // namespace continuo
