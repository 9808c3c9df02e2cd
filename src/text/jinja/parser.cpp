#include "text/jinja/parser.h"

#include <algorithm>
#include <utility>

#include <fmt/ranges.h>

#include "text/jinja/expressions.h"

namespace continuo::jinja {
namespace {

class Parser {
 public:
  Parser(std::string_view source, const std::string& name) : in_(tokenize(source, name), name) {}

  Body run() {
    std::string end;
    Body body = this->body({}, end);
    return body;
  }

 private:
  using Names = std::vector<std::string>;

  // Statements up to a tag of one of `ends`, whose name goes to `end`; the tag's end is left.
  Body body(const Names& ends, std::string& end) {
    const ExpressionParser::Level level(in_);
    Body body;
    while (true) {
      if (in_.now().kind == TokenKind::kEnd) {
        if (ends.empty()) return body;
        in_.fault(fmt::format("the template ends where {{% {} %}} was expected", ends.back()));
      }
      const Place place = in_.now().place;
      if (in_.now().kind == TokenKind::kData) {
        Statement& text = body.emplace_back();
        text.place = place;
        text.value = Value::text(in_.next().text);
      } else if (in_.now().kind == TokenKind::kOutput) {
        in_.next();
        Statement& output = body.emplace_back();
        output.kind = StatementKind::kOutput;
        output.place = place;
        output.expression = in_.tuple();
        expect(TokenKind::kOutputEnd, "'}}'");
      } else {
        in_.next();
        if (in_.now().kind == TokenKind::kName &&
            std::ranges::find(ends, in_.now().text) != ends.end()) {
          end = in_.next().text;
          return body;
        }
        Statement statement = tag();
        statement.place = place;
        body.push_back(std::move(statement));
      }
    }
  }

  void expect(TokenKind kind, std::string_view what) {
    if (in_.now().kind != kind) in_.unexpected(what);
    in_.next();
  }
  void close() { expect(TokenKind::kBlockEnd, "'%}'"); }

  Body block(std::string_view end_name) {
    std::string end;
    close();
    Body inner = body({std::string(end_name)}, end);
    // {% endmacro name %} may repeat the name.
    if (in_.now().kind == TokenKind::kName && end_name == "endmacro") in_.next();
    close();
    return inner;
  }

  Statement tag() {
    const std::string name = in_.expect_name("a tag's name");
    if (name == "if") return conditional();
    if (name == "for") return loop();
    if (name == "set") return set();
    if (name == "macro") return macro();
    if (name == "with") return with();
    Statement s;
    if (name == "generation") {
      s.kind = StatementKind::kGeneration;
      s.bodies.push_back(block("endgeneration"));
      return s;
    }
    if (name == "filter") {
      s.kind = StatementKind::kFilter;
      s.expression = in_.filters(nullptr);
      s.bodies.push_back(block("endfilter"));
      return s;
    }
    if (name == "break" || name == "continue") {
      if (loops_ == 0) in_.fault(fmt::format("{{% {} %}} outside of a loop", name));
      s.kind = name == "break" ? StatementKind::kBreak : StatementKind::kContinue;
      close();
      return s;
    }
    for (const char* known : {"else", "elif", "endif", "endfor", "endset", "endmacro", "endwith",
                              "endgeneration", "endfilter"}) {
      if (name == known) in_.fault(fmt::format("{{% {} %}} closes nothing", name));
    }
    in_.fault(fmt::format("the tag '{}' is not supported", name),
              "supported: if, for, set, macro, with, filter, break, continue, generation, raw");
  }

  Statement conditional() {
    Statement s;
    s.kind = StatementKind::kIf;
    std::string end = "elif";
    while (end == "elif") {
      s.conditions.push_back(in_.tuple());
      close();
      s.bodies.push_back(body({"elif", "else", "endif"}, end));
    }
    if (end == "else") {
      close();
      s.bodies.push_back(body({"endif"}, end));
    }
    close();
    return s;
  }

  Names targets() {
    const bool bracket = in_.skip_op("(");
    Names names{target()};
    while (in_.skip_op(",")) names.push_back(target());
    if (bracket) in_.expect_op(")");
    return names;
  }
  std::string target() {
    std::string name = in_.expect_name("a variable's name");
    for (const char* word : {"true", "false", "none", "True", "False", "None", "and", "or", "not",
                             "in", "is", "if", "else"}) {
      if (name == word) in_.fault(fmt::format("'{}' cannot be assigned to", name));
    }
    return name;
  }

  Statement loop() {
    Statement s;
    s.kind = StatementKind::kFor;
    s.names = targets();
    if (!in_.skip_name("in")) in_.unexpected("'in'");
    s.expression = in_.tuple(false);
    if (in_.skip_name("if")) s.conditions.push_back(in_.expression());
    if (in_.now().name("recursive")) in_.fault("recursive loops are not supported");
    close();
    std::string end;
    ++loops_;
    ++nested_;
    s.bodies.push_back(body({"else", "endfor"}, end));
    --loops_;
    if (end == "else") {
      close();
      s.bodies.push_back(body({"endfor"}, end));
    }
    --nested_;
    close();
    return s;
  }

  Statement set() {
    Statement s;
    s.kind = StatementKind::kSet;
    s.names = targets();
    if (s.names.size() == 1 && in_.skip_op(".")) s.attribute = in_.expect_name("an attribute");
    if (in_.skip_op("=")) {
      s.expression = in_.tuple();
      close();
      return s;
    }
    if (s.names.size() > 1) in_.unexpected("'='");
    s.kind = StatementKind::kSetBlock;
    if (in_.skip_op("|")) s.expression = in_.filters(nullptr);
    s.bodies.push_back(block("endset"));
    return s;
  }

  Statement macro() {
    Statement s;
    s.kind = StatementKind::kMacro;
    if (nested_ > 0) in_.fault("a macro inside a loop, a macro or {% with %} is not supported");
    s.names.push_back(target());
    in_.expect_op("(");
    while (!in_.now().op(")")) {
      s.names.push_back(target());
      if (in_.skip_op("=")) {
        s.conditions.push_back(in_.expression());
      } else if (!s.conditions.empty()) {
        in_.fault("a parameter without a default follows one that has it");
      }
      if (!in_.now().op(")")) in_.expect_op(",");
    }
    in_.expect_op(")");
    const int loops = std::exchange(loops_, 0);
    ++nested_;
    s.bodies.push_back(block("endmacro"));
    --nested_;
    loops_ = loops;
    return s;
  }

  Statement with() {
    Statement s;
    s.kind = StatementKind::kWith;
    while (in_.now().kind != TokenKind::kBlockEnd) {
      s.names.push_back(target());
      in_.expect_op("=");
      s.conditions.push_back(in_.expression());
      if (in_.now().kind != TokenKind::kBlockEnd) in_.expect_op(",");
    }
    ++nested_;
    s.bodies.push_back(block("endwith"));
    --nested_;
    return s;
  }

  ExpressionParser in_;
  int loops_ = 0, nested_ = 0;
};

}  // namespace

Body parse(std::string_view source, const std::string& name) { return Parser(source, name).run(); }

}  // namespace continuo::jinja
