// Expressions of a template: tokens → trees, by precedence as Jinja has it.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

#include "text/jinja/lexer.h"
#include "text/jinja/tree.h"

namespace continuo::jinja {

class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, std::string name)
      : tokens_(std::move(tokens)), file_(std::move(name)) {}

  // "a, b" is a tuple; without `conditional` an `if` ends the expression (loops have their own).
  ExpressionPtr tuple(bool conditional = true);
  ExpressionPtr expression();
  ExpressionPtr disjunction();
  // Filters without a value in front ("upper | trim"); items[0] of the first is null.
  ExpressionPtr filters(ExpressionPtr value);

  const Token& now() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token next();
  bool skip_op(std::string_view op);
  bool skip_name(std::string_view name);
  void expect_op(std::string_view op);
  std::string expect_name(std::string_view what);
  [[noreturn]] void fault(const std::string& message, const std::string& hint = {}) const;
  [[noreturn]] void unexpected(std::string_view wanted) const;

  // Guards recursion.
  class Level {
   public:
    explicit Level(ExpressionParser& parser);
    ~Level() { --parser_.level_; }

   private:
    ExpressionParser& parser_;
  };

 private:
  using Kind = Expression::Kind;
  ExpressionPtr make(Kind kind, std::vector<ExpressionPtr> items, std::string name = {});
  ExpressionPtr binary(ExpressionPtr (ExpressionParser::*operand)(),
                       std::initializer_list<std::string_view> operators);
  ExpressionPtr conjunction();
  ExpressionPtr negation();
  ExpressionPtr comparison();
  ExpressionPtr sum();
  ExpressionPtr concatenation();
  ExpressionPtr product();
  ExpressionPtr power();
  ExpressionPtr unary_filtered();
  ExpressionPtr unary(bool filtered);
  ExpressionPtr primary();
  ExpressionPtr atom();
  ExpressionPtr postfix(ExpressionPtr value);
  ExpressionPtr subscript(ExpressionPtr value);
  ExpressionPtr test(ExpressionPtr value);
  void arguments(Expression& call);
  ExpressionPtr list();
  ExpressionPtr dict();

  std::vector<Token> tokens_;
  std::string file_;
  size_t at_ = 0;
  int level_ = 0;
};

}  // namespace continuo::jinja
