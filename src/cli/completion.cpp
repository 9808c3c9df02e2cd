// `continuo completion bash|zsh`: a script that completes commands, options and their values, made
// of the command line as CLI11 knows it, so that the two cannot diverge.
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/ranges.h>

#include "cli/commands.h"

namespace continuo {
namespace {

using Words = std::vector<std::string>;

// "fp32" and "bf16" of "TEXT:{fp32,bf16}", which is how CLI11 describes a choice.
Words choices_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{'), close = type.find('}', open);
  if (close == std::string::npos) return {};
  return CLI::detail::split(type.substr(open + 1, close - open - 1), ',');
}

// "--dtype", "-q".
Words spellings(const CLI::Option& option) {
  Words words;
  for (const std::string& name : option.get_lnames()) words.push_back("--" + name);
  for (const std::string& name : option.get_snames()) words.push_back("-" + name);
  return words;
}

// The branches of three `case`s of a shell: which words name a subcommand, what may follow an
// option, what a command takes.
struct Branches {
  std::string subcommands, values, words;

  void add(const CLI::App& command, const std::string& route) {
    Words all;
    for (const CLI::App* child : command.get_subcommands([](const CLI::App*) { return true; })) {
      all.push_back(child->get_name());
      subcommands +=
          fmt::format("      '{} {}') route='{} {}' ;;\n", route, all.back(), route, all.back());
      add(*child, route + " " + child->get_name());
    }
    for (const CLI::Option* option : command.get_options([](const CLI::Option*) { return true; })) {
      const Words choices = choices_of(*option);
      for (const std::string& word : spellings(*option)) {
        all.push_back(word);
        if (choices.empty()) continue;
        values +=
            fmt::format("    '{} {}') candidates='{}' ;;\n", route, word, fmt::join(choices, " "));
      }
      if (option->get_positional()) all.insert(all.end(), choices.begin(), choices.end());
    }
    words += fmt::format("        '{}') candidates='{}' ;;\n", route, fmt::join(all, " "));
  }
};

// `typed`: the words before the one that is completed; `before`: the last of them.
std::string completer(const CLI::App& app, std::string_view typed, std::string_view before) {
  Branches branches;
  branches.add(app, app.get_name());
  return fmt::format(
      R"(  local route={0} candidates= word
  for word in {1}; do
    case "$route $word" in
{3}    esac
  done
  case "$route {2}" in
{4}    *)
      case $route in
{5}      esac ;;
  esac
)",
      app.get_name(), typed, before, branches.subcommands, branches.values, branches.words);
}

std::string bash_completion(const CLI::App& app) {
  return fmt::format(
      R"(# bash completion of {0}: source <({0} completion bash)
_{0}() {{
{1}  COMPREPLY=($(compgen -W "$candidates" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _{0} {0}
)",
      app.get_name(),
      completer(app, R"("${COMP_WORDS[@]:1:COMP_CWORD-1}")", "${COMP_WORDS[COMP_CWORD-1]}"));
}

std::string zsh_completion(const CLI::App& app) {
  return fmt::format(
      R"(#compdef {0}
# zsh completion of {0}: source <({0} completion zsh), after compinit
_{0}() {{
{1}  compadd -- ${{=candidates}}
  _files
}}
compdef _{0} {0}
)",
      app.get_name(), completer(app, R"("${(@)words[2,CURRENT-1]}")", "${words[CURRENT-1]}"));
}

}  // namespace

void add_completion_command(CLI::App& app) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command =
      app.add_subcommand("completion", "Print the script that completes commands in a shell");
  command->add_option("shell", *shell, "bash or zsh")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh"}));
  command->callback([&app, shell] {
    fmt::print("{}", *shell == "zsh" ? zsh_completion(app) : bash_completion(app));
  });
}

}  // namespace continuo
