#include "text/jinja/render.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "text/jinja/evaluator.h"

namespace continuo::jinja {
namespace {

class Renderer final : public Evaluator {
 public:
  Renderer(const Variables& variables, const std::string& today) : Evaluator(today) {
    for (const auto& [name, value] : variables) scopes().front().set(name, value);
  }

  Text run(const Body& body) {
    execute(body);
    return std::move(out_);
  }

 private:
  enum class Flow { kOn, kBreak, kContinue };

  Flow execute(const Body& body) {
    const Level level(*this);
    for (const Statement& statement : body) {
      set_place(statement.place);
      budget().spend(1);
      const Flow flow = execute(statement);
      if (flow != Flow::kOn) return flow;
    }
    return Flow::kOn;
  }

  Flow execute(const Statement& s) {
    switch (s.kind) {
      case StatementKind::kText:
        write(s.value);
        break;
      case StatementKind::kOutput:
        write(evaluate(*s.expression));
        break;
      case StatementKind::kIf:
        return conditional(s);
      case StatementKind::kFor:
        return loop(s);
      case StatementKind::kSet:
        set(s);
        break;
      case StatementKind::kSetBlock: {
        Value text{captured(s.bodies[0])};
        if (s.expression) text = filtered(*s.expression, text);
        assign(s, std::move(text));
        break;
      }
      case StatementKind::kMacro:
        scopes().back().set(s.names[0], Value(Function{s.names[0], &s}));
        break;
      case StatementKind::kFilter:
        write(filtered(*s.expression, Value(captured(s.bodies[0]))));
        break;
      case StatementKind::kWith:
        return with(s);
      case StatementKind::kGeneration: {
        const size_t begin = out_.size();
        const Flow flow = execute(s.bodies[0]);
        budget().spend_text(out_.size());
        out_.mark_generated(begin);
        return flow;
      }
      case StatementKind::kBreak:
        return Flow::kBreak;
      case StatementKind::kContinue:
        return Flow::kContinue;
    }
    return Flow::kOn;
  }

  void write(const Value& value) {
    budget().spend(value.weight());
    if (const Text* text = value.if_text()) {
      out_.append(*text);
    } else {
      out_.append(to_text(value));
    }
  }

  // What the body writes, in a scope of its own. `break` does not reach through it.
  Text captured(const Body& body) {
    Text outer = std::exchange(out_, {});
    scopes().emplace_back();
    execute(body);
    scopes().pop_back();
    return std::exchange(out_, std::move(outer));
  }

  Flow conditional(const Statement& s) {
    for (size_t i = 0; i < s.conditions.size(); ++i) {
      if (evaluate(*s.conditions[i]).truthy()) return execute(s.bodies[i]);
    }
    return s.bodies.size() > s.conditions.size() ? execute(s.bodies.back()) : Flow::kOn;
  }

  void unpack(const std::vector<std::string>& names, const Value& value, Scope& scope) {
    if (names.size() == 1) {
      scope.set(names[0], value);
      return;
    }
    const std::vector<Value> parts = elements(value);
    if (parts.size() != names.size()) {
      fail("{} values for the {} names {}, …", parts.size(), names.size(), names[0]);
    }
    for (size_t i = 0; i < names.size(); ++i) scope.set(names[i], parts[i]);
  }

  Flow loop(const Statement& s) {
    std::vector<Value> items = elements(evaluate(*s.expression));
    budget().spend(items.size() + 1);
    if (!s.conditions.empty()) {
      std::vector<Value> kept;
      for (Value& item : items) {
        scopes().emplace_back();
        unpack(s.names, item, scopes().back());
        const bool keeps = evaluate(*s.conditions[0]).truthy();
        scopes().pop_back();
        if (keeps) kept.push_back(std::move(item));
      }
      items = std::move(kept);
    }
    LoopState state{.items = &items, .index = 0};
    Flow inner = Flow::kOn;
    for (; state.index < items.size() && inner != Flow::kBreak; ++state.index) {
      Scope& scope = scopes().emplace_back();
      scope.loop = &state;
      unpack(s.names, items[state.index], scope);
      inner = execute(s.bodies[0]);
      scopes().pop_back();
    }
    if (!items.empty() || s.bodies.size() < 2) return Flow::kOn;
    scopes().emplace_back();
    const Flow flow = execute(s.bodies[1]);
    scopes().pop_back();
    return flow;
  }

  void set(const Statement& s) {
    Value value = evaluate(*s.expression);
    if (s.names.size() > 1) {
      unpack(s.names, value, scopes().back());
    } else {
      assign(s, std::move(value));
    }
  }

  void assign(const Statement& s, Value value) {
    if (s.attribute.empty()) {
      scopes().back().set(s.names[0], std::move(value));
      return;
    }
    Expression name;
    name.kind = Expression::Kind::kName;
    name.name = s.names[0];
    name.place = s.place;
    const Value target = evaluate(name);
    auto* const* space = std::get_if<Namespace*>(&target.storage());
    if (!space) fail("'{}' is no namespace, so '{}' cannot be set", s.names[0], s.attribute);
    (*space)->set(s.attribute, std::move(value));
  }

  Flow with(const Statement& s) {
    Scope scope;
    for (size_t i = 0; i < s.names.size(); ++i) scope.set(s.names[i], evaluate(*s.conditions[i]));
    scopes().push_back(std::move(scope));
    const Flow flow = execute(s.bodies[0]);
    scopes().pop_back();
    return flow;
  }

  Value call_macro(const Statement& macro, const Arguments& given) override {
    const size_t count = macro.names.size() - 1;
    given.at_most(count, macro.names[0]);
    for (const auto& [name, value] : given.named) {
      if (std::find(macro.names.begin() + 1, macro.names.end(), name) == macro.names.end()) {
        fail("{} has no parameter '{}'", macro.names[0], name);
      }
    }
    Text outer = std::exchange(out_, {});
    Scope& scope = scopes().emplace_back();
    scope.macro = true;
    const size_t plain = count - macro.conditions.size();
    for (size_t i = 0; i < count; ++i) {
      const std::string& name = macro.names[i + 1];
      if (const Value* value = given.find(i, name)) {
        scope.set(name, *value);
      } else {
        scope.set(name,
                  i < plain ? Value(Undefined{name}) : evaluate(*macro.conditions[i - plain]));
      }
    }
    execute(macro.bodies[0]);
    scopes().pop_back();
    return Value(std::exchange(out_, std::move(outer)));
  }

  Text out_;
};

}  // namespace

Text render(const Body& body, const Variables& variables, const std::string& name,
            const std::string& today) {
  Renderer renderer(variables, today);
  try {
    return renderer.run(body);
  } catch (const Error& error) {
    throw Error(renderer.place().in(name), error.what());
  }
}

}  // namespace continuo::jinja
