// Expects an Error whose message holds every given part.
#pragma once

#include <initializer_list>
#include <string>

#include <gtest/gtest.h>

#include "core/error.h"

namespace continuo::test {

template <class Action>
void expect_error(const Action& action, std::initializer_list<std::string> parts,
                  int exit_code = 1) {
  try {
    action();
    ADD_FAILURE() << "no error; expected one with: " << *parts.begin();
  } catch (const Error& error) {
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
          << "\"" << part << "\" is not in:\n"
          << error.what();
    }
    EXPECT_EQ(error.exit_code(), exit_code);
  }
}

}  // namespace continuo::test
