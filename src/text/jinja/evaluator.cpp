#include "text/jinja/evaluator.h"

#include <algorithm>

#include "core/error.h"

namespace continuo::jinja {
namespace {

constexpr const char* kFunctions[] = {"raise_exception", "strftime_now", "range", "namespace",
                                      "dict"};

}  // namespace

void Scope::set(std::string_view name, Value value) {
  for (auto& [known, held] : variables) {
    if (known == name) {
      held = std::move(value);
      return;
    }
  }
  if (variables.size() >= kMostNames) fail("more than {} variables", kMostNames);
  variables.emplace_back(name, std::move(value));
}

const Value* Scope::find(std::string_view name) const {
  for (const auto& [known, held] : variables) {
    if (known == name) return &held;
  }
  return nullptr;
}

Evaluator::Level::Level(Evaluator& evaluator) : evaluator_(evaluator) {
  constexpr int kDeepestRun = 300;
  if (evaluator.level_ >= kDeepestRun) fail("the template calls itself, or is nested, too deeply");
  ++evaluator.level_;
}

Value Evaluator::evaluate(const Expression& e) {
  const Level level(*this);
  budget_.spend(1);
  place_ = e.place;
  switch (e.kind) {
    case ExpressionKind::kConstant:
      return e.value;
    case ExpressionKind::kName:
      return name(e.name);
    case ExpressionKind::kList:
    case ExpressionKind::kTuple:
    case ExpressionKind::kDict:
      return container(e);
    case ExpressionKind::kAttribute:
      if (const LoopState* loop = loop_named(*e.items[0])) return loop_attribute(*loop, e.name);
      return attribute(e);
    case ExpressionKind::kIndex:
    case ExpressionKind::kSlice:
      return subscript(e);
    case ExpressionKind::kCall:
      return call(e);
    case ExpressionKind::kFilter: {
      const Value value = evaluate(*e.items[0]);
      const Arguments given = arguments(e);
      place_ = e.place;
      return apply_filter(e.name, value, given, budget_);
    }
    case ExpressionKind::kTest:
      return tested(e);
    case ExpressionKind::kNot:
    case ExpressionKind::kNegate:
    case ExpressionKind::kPlus:
      return unary(e);
    case ExpressionKind::kBinary:
      return binary(e);
    case ExpressionKind::kAnd:
    case ExpressionKind::kOr:
    case ExpressionKind::kConditional:
      return logical(e);
    case ExpressionKind::kCompare:
      return comparison(e);
    case ExpressionKind::kConcat:
      return concatenation(e);
  }
  fail("an expression of no kind");
}

Value Evaluator::filtered(const Expression& filters, const Value& value) {
  const Level level(*this);
  place_ = filters.place;
  return apply_filter(filters.name, filters.items[0] ? filtered(*filters.items[0], value) : value,
                      arguments(filters), budget_);
}

Value Evaluator::attribute(const Expression& e) {
  const Value value = evaluate(*e.items[0]);
  place_ = e.place;
  if (const Dict* dict = value.if_dict()) budget_.spend(dict->items.size() / 8);
  return attribute_of(value, e.name);
}

Value Evaluator::name(const std::string& name) {
  budget_.spend(scopes_.size() / 8);
  for (size_t i = scopes_.size(); i-- > 0;) {
    const Scope& scope = scopes_[i];
    if (const Value* found = scope.find(name)) return *found;
    if (scope.loop && name == "loop") return loop_value(*scope.loop);
    if (scope.macro) i = std::min<size_t>(i, 1);
  }
  if (std::ranges::find(kFunctions, name) != std::end(kFunctions)) return Value(Function{name});
  return Value(Undefined{name});
}

const LoopState* Evaluator::loop_named(const Expression& e) const {
  if (e.kind != ExpressionKind::kName || e.name != "loop") return nullptr;
  for (size_t i = scopes_.size(); i-- > 0 && !scopes_[i].macro;) {
    if (scopes_[i].find("loop")) return nullptr;
    if (scopes_[i].loop) return scopes_[i].loop;
  }
  return nullptr;
}

Value Evaluator::loop_attribute(const LoopState& loop, std::string_view name) const {
  const auto index = static_cast<int64_t>(loop.index), size = std::ssize(*loop.items);
  if (name == "index") return Value(index + 1);
  if (name == "index0") return Value(index);
  if (name == "revindex") return Value(size - index);
  if (name == "revindex0") return Value(size - index - 1);
  if (name == "first") return Value(index == 0);
  if (name == "last") return Value(index + 1 == size);
  if (name == "length") return Value(size);
  if (name == "depth") return Value(int64_t{1});
  if (name == "depth0") return Value(int64_t{0});
  if (name == "previtem" && index > 0) return (*loop.items)[loop.index - 1];
  if (name == "nextitem" && index + 1 < size) return (*loop.items)[loop.index + 1];
  return Value(Undefined{"loop." + std::string(name)});
}

// `loop` by itself, as in {% set outer = loop %}: how it stands now.
Value Evaluator::loop_value(const LoopState& loop) const {
  std::vector<std::pair<Value, Value>> items;
  for (const char* each : {"index", "index0", "revindex", "revindex0", "first", "last", "length",
                           "depth", "depth0", "previtem", "nextitem"}) {
    Value value = loop_attribute(loop, each);
    if (!value.undefined()) items.emplace_back(Value::text(each), std::move(value));
  }
  return Value::dict(std::move(items));
}

Value Evaluator::container(const Expression& e) {
  std::vector<Value> items;
  for (const ExpressionPtr& item : e.items) items.push_back(evaluate(*item));
  budget_.spend(items.size());
  if (e.kind != ExpressionKind::kDict)
    return Value::list(std::move(items), e.kind == ExpressionKind::kTuple);
  std::vector<std::pair<Value, Value>> entries;
  for (size_t i = 0; i < items.size(); i += 2) entries.emplace_back(items[i], items[i + 1]);
  budget_.spend(entries.size() * entries.size() / 4);
  return Value::dict(std::move(entries));
}

Value Evaluator::subscript(const Expression& e) {
  const Value value = evaluate(*e.items[0]);
  if (e.kind == ExpressionKind::kIndex) {
    if (value.if_text()) budget_.spend_text(value.if_text()->size());
    const Value index = evaluate(*e.items[1]);
    place_ = e.place;
    return element_of(value, index);
  }
  Value bounds[3];
  for (size_t i = 0; i < 3; ++i) {
    bounds[i] = e.items[i + 1] ? evaluate(*e.items[i + 1]) : Value(None{});
  }
  place_ = e.place;
  return slice_of(value, bounds[0], bounds[1], bounds[2], budget_);
}

Arguments Evaluator::arguments(const Expression& e) {
  Arguments given;
  for (size_t i = 1; i < e.items.size(); ++i) given.positional.push_back(evaluate(*e.items[i]));
  for (const auto& [name, argument] : e.named) given.named.emplace_back(name, evaluate(*argument));
  return given;
}

Value Evaluator::call(const Expression& e) {
  const Expression& callee = *e.items[0];
  if (callee.kind == ExpressionKind::kAttribute) {
    if (const LoopState* loop = loop_named(*callee.items[0])) {
      const Arguments given = arguments(e);
      if (callee.name != "cycle" || given.positional.empty())
        fail("loop.{}() is not supported", callee.name);
      return given.positional[loop->index % given.positional.size()];
    }
    const Value value = evaluate(*callee.items[0]);
    const Arguments given = arguments(e);
    if (!value.undefined()) {
      const Value member = attribute_of(value, callee.name);
      if (member.if_function()) return call_function(*member.if_function(), given);
    }
    place_ = e.place;
    return call_method(value, callee.name, given, budget_);
  }
  const Value function = evaluate(callee);
  const Arguments given = arguments(e);
  place_ = e.place;
  if (const auto* undefined = std::get_if<Undefined>(&function.storage())) {
    fail("'{}' is undefined", undefined->name);
  }
  if (!function.if_function()) fail("a {} cannot be called", function.type_name());
  return call_function(*function.if_function(), given);
}

Value Evaluator::tested(const Expression& e) {
  const Value value = evaluate(*e.items[0]);
  const Arguments given = arguments(e);
  place_ = e.place;
  size_t weight = value.weight();
  for (const Value& argument : given.positional) weight = std::min(weight, argument.weight());
  const bool reads = !given.positional.empty() || e.name == "upper" || e.name == "lower";
  if (reads)
    budget_.spend(e.name == "in" && !given.positional.empty() ? given.positional[0].weight()
                                                              : weight);
  if (e.name == "filter" || e.name == "test") fail("'is {}' is not supported", e.name);
  return Value(apply_test(e.name, value, given));
}

Value Evaluator::logical(const Expression& e) {
  if (e.kind == ExpressionKind::kConditional) {
    if (evaluate(*e.items[1]).truthy()) return evaluate(*e.items[0]);
    return e.items[2] ? evaluate(*e.items[2]) : Value(Undefined{"the value without an else"});
  }
  Value left = evaluate(*e.items[0]);
  const bool decides = left.truthy() == (e.kind == ExpressionKind::kOr);
  return decides ? left : evaluate(*e.items[1]);
}

Value Evaluator::comparison(const Expression& e) {
  Value left = evaluate(*e.items[0]);
  for (size_t i = 0; i < e.operators.size(); ++i) {
    Value right = evaluate(*e.items[i + 1]);
    place_ = e.place;
    const std::string& op = e.operators[i];
    bool holds = false;
    if (op == "in" || op == "not in") {
      if (right.if_text() && left.if_text()) {
        budget_.spend_search(right.if_text()->size(), left.if_text()->size());
      } else {
        const List* list = right.if_list();
        budget_.spend(list ? std::min(list->weight, list->items.size() * left.weight())
                           : right.weight());
      }
      holds = contains(right, left) == (op == "in");
    } else {
      budget_.spend(std::min(left.weight(), right.weight()));
      if (op == "==" || op == "!=") {
        holds = equal(left, right) == (op == "==");
      } else {
        for (const Value* side : {&left, &right}) {
          if (const auto* undefined = std::get_if<Undefined>(&side->storage())) {
            fail("'{}' is undefined", undefined->name);
          }
        }
        const int order = compare(left, right);
        holds = op[0] == '<' ? order < 0 : order > 0;
        if (op.size() == 2) holds = holds || order == 0;
      }
    }
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Value Evaluator::concatenation(const Expression& e) {
  Text out;
  for (const ExpressionPtr& item : e.items) {
    const Value value = evaluate(*item);
    budget_.spend(value.weight());
    out.append(to_text(value));
  }
  budget_.spend_text(out.size());
  return Value(std::move(out));
}

}  // namespace continuo::jinja
