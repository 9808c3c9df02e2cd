// The real binary as a process, with its output.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/temp_dir.h"

namespace continuo {

namespace fs = std::filesystem;
using test::TempDir;

struct Outcome {
  int code = -1;  // exit code, or -signal
  std::string out, err;
};

// A running continuo whose output goes to files.
class Process {
 public:
  // `environment`: KEY=value, beside what this process has. `name`: of one of several processes in
  // a directory.
  Process(const TempDir& directory, const std::vector<std::string>& arguments,
          const std::vector<std::string>& environment = {}, const std::string& name = "")
      : out_(directory / (name + "stdout")), err_(directory / (name + "stderr")) {
    pid_ = fork();
    if (pid_ != 0) return;
    const auto redirect = [](const fs::path& path, int fd, int flags) {
      dup2(open(path.c_str(), flags, 0644), fd);
    };
    redirect("/dev/null", 0, O_RDONLY);
    redirect(out_, 1, O_WRONLY | O_CREAT | O_TRUNC);
    redirect(err_, 2, O_WRONLY | O_CREAT | O_TRUNC);
    if (chdir(directory.path().c_str()) != 0) _exit(126);
    std::vector<std::string> words = {CONTINUO_BINARY};
    words.insert(words.end(), arguments.begin(), arguments.end());
    for (const std::string& variable : environment) putenv(const_cast<char*>(variable.c_str()));
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }
  void send(int signal) const { kill(pid_, signal); }
  pid_t id() const { return pid_; }
  Outcome wait() const {
    int status = 0;
    waitpid(pid_, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), test::read_file(out_),
            test::read_file(err_)};
  }

 private:
  fs::path out_, err_;
  pid_t pid_;
};

inline Outcome run(const TempDir& directory, const std::vector<std::string>& arguments,
                   const std::vector<std::string>& environment = {}) {
  return Process(directory, arguments, environment).wait();
}

}  // namespace continuo
