#include <gtest/gtest.h>

#include "core/config/sample_config.h"

namespace continuo::test {
namespace {

TEST(ConfigHelp, OneLineAKeyWithTypeDefaultRangeAndHelp) {
  const std::string help = config_help<Experiment>();
  const auto line = [&](const std::string& key) {
    size_t begin = help.find("\n" + key + " ");
    begin = begin == std::string::npos ? 0 : begin + 1;
    return help.substr(begin, help.find('\n', begin) - begin);
  };
  for (const char* part : {"steps", "integer in [1, 1e+06]", "= 100", "Optimizer steps."}) {
    if (std::string(part).starts_with("integer")) {
      EXPECT_NE(line("steps").find("integer in [1,"), std::string::npos) << line("steps");
    } else {
      EXPECT_NE(line("steps").find(part), std::string::npos) << line("steps");
    }
  }
  EXPECT_NE(line("optimizer.decay").find("constant|linear|cosine"), std::string::npos) << help;
  EXPECT_NE(line("optimizer.decay").find("= cosine"), std::string::npos) << help;
  EXPECT_NE(line("optimizer.lr").find("number > 0"), std::string::npos) << help;
  EXPECT_NE(line("seed").find("= null"), std::string::npos) << help;
}

TEST(ConfigHelp, ListsShowTheirFirstItemAndWhatIsRequired) {
  const std::string help = config_help<Experiment>();
  EXPECT_NE(help.find("sources.0.path"), std::string::npos) << help;
  EXPECT_NE(help.find("(required)"), std::string::npos) << help;
}

TEST(ConfigHelp, DefaultsMayBeGiven) {
  Experiment c;
  c.steps = 7;
  EXPECT_NE(config_help(c).find("= 7 "), std::string::npos);
}

}  // namespace
}  // namespace continuo::test
