// `continuo tokenizer train|encode|decode|inspect`.
#pragma once

namespace CLI {
class App;
}

namespace continuo {

void add_tokenizer_command(CLI::App& app);

}  // namespace continuo
