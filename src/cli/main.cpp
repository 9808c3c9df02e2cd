// continuo: parses the command line, runs one subcommand, turns an Error into one message and an
// exit code: 0 done, 1 failed, 2 wrong usage.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>

#include <ATen/Parallel.h>
#include <CLI/CLI.hpp>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <torch/version.h>

#include "app/backends.h"
#include "bench/commands.h"
#include "cli/commands.h"
#include "cli/tokenizer.h"
#include "cli/version.h"
#include "core/error.h"
#include "core/log.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/tensor_memory.h"

namespace {

std::string version() {
  return fmt::format("continuo {}\nLibTorch {}\ninstruction set {}", continuo::kVersion,
                     TORCH_VERSION, continuo::kernels().instruction_set);
}

int run(int argc, char** argv) {
  CLI::App app(
      "Continuo teaches a decoder-only language model to continue prompts, then generates with "
      "it.",
      "continuo");
  app.set_version_flag("--version", version);
  app.require_subcommand(1);
  app.footer("Start with ./scripts/quickstart.sh, or: continuo train configs/quickstart.yaml");
  bool verbose = false, quiet = false;
  app.add_flag("-v,--verbose", verbose,
               "Also say what was chosen and found: device, kernels, weights, caches");
  app.add_flag("-q,--quiet", quiet, "Log warnings and errors only");
  app.parse_complete_callback([&] {
    continuo::set_log_level(verbose ? continuo::LogLevel::kDebug
                            : quiet ? continuo::LogLevel::kWarning
                                    : continuo::LogLevel::kInfo);
  });
  continuo::add_train_command(app);
  continuo::add_eval_command(app);
  continuo::add_generate_command(app);
  continuo::add_tokenizer_command(app);
  continuo::add_merge_command(app);
  continuo::add_inspect_command(app);
  continuo::add_convert_command(app);
  continuo::add_bench_command(app);
  continuo::add_completion_command(app);
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::RuntimeError& error) {  // a command that ran and ended with a code of its own
    return error.get_exit_code();
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
}

// `run` with every error as a message and an exit code.
int run_guarded(int argc, char** argv) {
  try {
    at::set_num_interop_threads(1);
    continuo::install_backends();
    return run(argc, argv);
  } catch (const continuo::Error& error) {
    continuo::log_error("{}", error.what());
    return error.exit_code();
  } catch (const c10::Error& error) {
    continuo::log_error("{}", error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    continuo::log_error("out of memory");
  } catch (const std::exception& error) {
    continuo::log_error("{}", error.what());
  }
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  continuo::install_segment_allocator();
  int code = run_guarded(argc, argv);
  const bool written = std::cout.flush().good() && std::fflush(stdout) == 0 && !std::ferror(stdout);
  if (!written && code == 0) {
    continuo::log_error("standard output cannot be written");
    code = 1;
  }
#ifndef __SANITIZE_ADDRESS__
  // Nothing is left that must reach a file, and taking LibTorch's registries apart would cost a
  // tenth of the time that it takes to load.
  std::_Exit(code);
#endif
  return code;
}
