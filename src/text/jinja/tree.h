// The tree of a parsed template.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/place.h"
#include "text/jinja/value.h"

namespace continuo::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Expression {
  enum class Kind {
    kConstant,     // value
    kName,         // name
    kList,         // items
    kTuple,        // items
    kDict,         // items: key, value, key, value, …
    kAttribute,    // items[0].name
    kIndex,        // items[0][items[1]]
    kSlice,        // items[0][items[1]:items[2]:items[3]], each of the three may be null
    kCall,         // items[0](rest…, named…)
    kFilter,       // items[0] | name(rest…, named…); items[0] is null in a filter block
    kTest,         // items[0] is name(rest…, named…)
    kNot,          // items[0]
    kNegate,       // -items[0]
    kPlus,         // +items[0]
    kBinary,       // items[0] name items[1]
    kAnd,          // items[0] and items[1]
    kOr,           // items[0] or items[1]
    kCompare,      // items[0] operators[0] items[1] operators[1] items[2] …
    kConcat,       // items[0] ~ items[1] ~ …
    kConditional,  // items[0] if items[1] else items[2], which may be null
  };
  Kind kind = Kind::kConstant;
  Place place;
  int depth = 1;
  std::string name;
  Value value;
  std::vector<ExpressionPtr> items;
  std::vector<std::string> operators;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
};

using ExpressionKind = Expression::Kind;

struct Statement;
using Body = std::vector<Statement>;

struct Statement {
  enum class Kind {
    kText,        // value
    kOutput,      // expression
    kIf,          // conditions[i] → bodies[i]; one body more is the else
    kFor,         // names in expression, conditions[0] if there; bodies: loop, else
    kSet,         // names (or name.attribute) = expression
    kSetBlock,    // names[0] = bodies[0] through expression (filters) if there
    kMacro,       // names[0](names[1…]), the last ones with defaults; bodies[0]
    kFilter,      // expression over bodies[0]
    kWith,        // names = conditions; bodies[0]
    kGeneration,  // bodies[0]
    kBreak,
    kContinue,
  };
  Kind kind = Kind::kText;
  Place place;
  Value value;
  ExpressionPtr expression;
  std::vector<std::string> names;
  std::string attribute;
  std::vector<ExpressionPtr> conditions;  // of a macro: the defaults
  std::vector<Body> bodies;
};

using StatementKind = Statement::Kind;

}  // namespace continuo::jinja
