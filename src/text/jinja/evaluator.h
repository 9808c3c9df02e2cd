// Expressions → values, in the scopes of a running template.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/library.h"
#include "text/jinja/tree.h"

namespace continuo::jinja {

// Where a loop is.
struct LoopState {
  const std::vector<Value>* items = nullptr;
  size_t index = 0;
};

// Names of one block. What a loop or a macro sets is gone behind it.
struct Scope {
  std::vector<std::pair<std::string_view, Value>> variables;
  const LoopState* loop = nullptr;
  bool macro = false;  // below it only the outermost scope is seen

  void set(std::string_view name, Value value);
  const Value* find(std::string_view name) const;
};

class Evaluator {
 public:
  explicit Evaluator(std::string today) : today_(std::move(today)) { scopes_.emplace_back(); }
  virtual ~Evaluator() = default;

  Value evaluate(const Expression& expression);
  // A filter block's chain over `value`.
  Value filtered(const Expression& filters, const Value& value);

  std::deque<Scope>& scopes() { return scopes_; }
  Budget& budget() { return budget_; }
  // Where it is, for messages.
  Place place() const { return place_; }
  void set_place(Place place) { place_ = place; }

  // Guards recursion of evaluation and execution together.
  class Level {
   public:
    explicit Level(Evaluator& evaluator);
    ~Level() { --evaluator_.level_; }

   private:
    Evaluator& evaluator_;
  };

 protected:
  virtual Value call_macro(const Statement& macro, const Arguments& arguments) = 0;

 private:
  Value attribute(const Expression& e);
  Value name(const std::string& name);
  Value loop_attribute(const LoopState& loop, std::string_view name) const;
  Value loop_value(const LoopState& loop) const;
  const LoopState* loop_named(const Expression& expression) const;
  Value container(const Expression& e);
  Value subscript(const Expression& e);
  Value call(const Expression& e);
  Value call_function(const Function& function, const Arguments& arguments);
  Value make_namespace(const Arguments& arguments);
  Value range(const Arguments& arguments);
  Value date(const Arguments& arguments) const;
  Value unary(const Expression& e);
  Value binary(const Expression& e);
  Value arithmetic(char op, bool doubled, const Value& a, const Value& b);
  Value repeated(const Value& value, int64_t count);
  Value percent_format(const Text& text, const Value& value);
  Value comparison(const Expression& e);
  Value concatenation(const Expression& e);
  Value logical(const Expression& e);
  Value tested(const Expression& e);
  Arguments arguments(const Expression& e);

  std::string today_;
  std::deque<Scope> scopes_;
  std::deque<Namespace> namespaces_;
  Budget budget_;
  int level_ = 0;
  Place place_;
};

}  // namespace continuo::jinja
