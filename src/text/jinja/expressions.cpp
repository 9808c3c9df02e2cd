#include "text/jinja/expressions.h"

#include <algorithm>
#include <charconv>

namespace continuo::jinja {
namespace {

constexpr int kDeepestTree = 200;

template <class... Items>
std::vector<ExpressionPtr> items_of(Items... items) {
  std::vector<ExpressionPtr> all;
  (all.push_back(std::move(items)), ...);
  return all;
}

}  // namespace

ExpressionParser::Level::Level(ExpressionParser& parser) : parser_(parser) {
  if (++parser.level_ > kDeepestTree) {
    --parser.level_;
    parser.fault(fmt::format("nested deeper than {} levels", kDeepestTree));
  }
}

Token ExpressionParser::next() {
  Token token = tokens_[at_];
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

void ExpressionParser::fault(const std::string& message, const std::string& hint) const {
  throw Error(now().place.in(file_), message, hint);
}

void ExpressionParser::unexpected(std::string_view wanted) const {
  const Token& token = now();
  std::string found = fmt::format("'{}'", token.text);
  if (token.kind == Token::Kind::kEnd) found = "the end of the template";
  if (token.kind == Token::Kind::kData) found = "text";
  if (token.kind == Token::Kind::kBlockEnd) found = "'%}'";
  if (token.kind == Token::Kind::kOutputEnd) found = "'}}'";
  if (token.kind == Token::Kind::kString) found = fmt::format("the string '{}'", token.text);
  fault(fmt::format("expected {}, found {}", wanted, found));
}

bool ExpressionParser::skip_op(std::string_view op) {
  if (!now().op(op)) return false;
  next();
  return true;
}

bool ExpressionParser::skip_name(std::string_view name) {
  if (!now().name(name)) return false;
  next();
  return true;
}

void ExpressionParser::expect_op(std::string_view op) {
  if (!skip_op(op)) unexpected(fmt::format("'{}'", op));
}

std::string ExpressionParser::expect_name(std::string_view what) {
  if (now().kind != Token::Kind::kName) unexpected(what);
  return next().text;
}

ExpressionPtr ExpressionParser::make(Kind kind, std::vector<ExpressionPtr> items,
                                     std::string name) {
  auto node = std::make_unique<Expression>();
  node->kind = kind;
  node->place = now().place;
  node->name = std::move(name);
  for (const ExpressionPtr& item : items) {
    if (item) node->depth = std::max(node->depth, item->depth + 1);
  }
  if (!items.empty() && items[0]) node->place = items[0]->place;
  if (node->depth > kDeepestTree) {
    fault(fmt::format("an expression of more than {} levels", kDeepestTree));
  }
  node->items = std::move(items);
  return node;
}

ExpressionPtr ExpressionParser::tuple(bool conditional) {
  const auto item = [&] { return conditional ? expression() : disjunction(); };
  ExpressionPtr first = item();
  if (!now().op(",")) return first;
  std::vector<ExpressionPtr> items = items_of(std::move(first));
  while (skip_op(",")) {
    const bool ends = now().kind == Token::Kind::kBlockEnd ||
                      now().kind == Token::Kind::kOutputEnd || now().op(")");
    if (ends) break;
    items.push_back(item());
  }
  return make(Kind::kTuple, std::move(items));
}

ExpressionPtr ExpressionParser::expression() {
  Level level(*this);
  ExpressionPtr value = disjunction();
  while (skip_name("if")) {
    ExpressionPtr condition = disjunction();
    ExpressionPtr otherwise = skip_name("else") ? expression() : nullptr;
    value = make(Kind::kConditional,
                 items_of(std::move(value), std::move(condition), std::move(otherwise)));
  }
  return value;
}

ExpressionPtr ExpressionParser::disjunction() {
  ExpressionPtr left = conjunction();
  while (skip_name("or")) left = make(Kind::kOr, items_of(std::move(left), conjunction()));
  return left;
}

ExpressionPtr ExpressionParser::conjunction() {
  ExpressionPtr left = negation();
  while (skip_name("and")) left = make(Kind::kAnd, items_of(std::move(left), negation()));
  return left;
}

ExpressionPtr ExpressionParser::negation() {
  Level level(*this);
  if (skip_name("not")) return make(Kind::kNot, items_of(negation()));
  return comparison();
}

ExpressionPtr ExpressionParser::comparison() {
  std::vector<ExpressionPtr> operands = items_of(sum());
  std::vector<std::string> operators;
  while (true) {
    static constexpr std::string_view kOperators[] = {"==", "!=", "<", "<=", ">", ">="};
    const bool symbol = now().kind == Token::Kind::kOperator &&
                        std::ranges::find(kOperators, now().text) != std::end(kOperators);
    if (symbol || now().name("in")) {
      operators.push_back(next().text);
    } else if (now().name("not") && ahead().name("in")) {
      next();
      next();
      operators.emplace_back("not in");
    } else {
      break;
    }
    operands.push_back(sum());
  }
  if (operators.empty()) return std::move(operands[0]);
  ExpressionPtr node = make(Kind::kCompare, std::move(operands));
  node->operators = std::move(operators);
  return node;
}

ExpressionPtr ExpressionParser::binary(ExpressionPtr (ExpressionParser::*operand)(),
                                       std::initializer_list<std::string_view> operators) {
  ExpressionPtr left = (this->*operand)();
  while (now().kind == Token::Kind::kOperator &&
         std::ranges::find(operators, std::string_view(now().text)) != operators.end()) {
    std::string op = next().text;
    ExpressionPtr right = (this->*operand)();
    left = make(Kind::kBinary, items_of(std::move(left), std::move(right)), std::move(op));
  }
  return left;
}

ExpressionPtr ExpressionParser::sum() {
  return binary(&ExpressionParser::concatenation, {"+", "-"});
}

ExpressionPtr ExpressionParser::concatenation() {
  std::vector<ExpressionPtr> items = items_of(product());
  while (skip_op("~")) items.push_back(product());
  return items.size() == 1 ? std::move(items[0]) : make(Kind::kConcat, std::move(items));
}

ExpressionPtr ExpressionParser::product() {
  return binary(&ExpressionParser::power, {"*", "/", "//", "%"});
}

ExpressionPtr ExpressionParser::power() {
  return binary(&ExpressionParser::unary_filtered, {"**"});
}

ExpressionPtr ExpressionParser::unary_filtered() { return unary(true); }

ExpressionPtr ExpressionParser::unary(bool filtered) {
  Level level(*this);
  ExpressionPtr value;
  if (skip_op("-")) {
    value = make(Kind::kNegate, items_of(unary(false)));
  } else if (skip_op("+")) {
    value = make(Kind::kPlus, items_of(unary(false)));
  } else {
    value = postfix(primary());
  }
  return filtered ? filters(std::move(value)) : std::move(value);
}

ExpressionPtr ExpressionParser::primary() {
  const Place place = now().place;
  ExpressionPtr node = atom();
  node->place = place;
  return node;
}

ExpressionPtr ExpressionParser::atom() {
  const Token& token = now();
  if (token.kind == Token::Kind::kName) {
    const std::string name = next().text;
    ExpressionPtr node = make(Kind::kName, {}, name);
    const bool truth = name == "true" || name == "True";
    if (truth || name == "false" || name == "False") node->value = Value(truth);
    if (name == "none" || name == "None") node->value = Value(None{});
    if (!node->value.undefined()) node->kind = Kind::kConstant;
    return node;
  }
  if (token.kind == Token::Kind::kString) {
    std::string text;
    ExpressionPtr node = make(Kind::kConstant, {});
    while (now().kind == Token::Kind::kString) text += next().text;
    node->value = Value::text(std::move(text));
    return node;
  }
  if (token.kind == Token::Kind::kInteger || token.kind == Token::Kind::kFloat) {
    ExpressionPtr node = make(Kind::kConstant, {});
    const char* begin = token.text.data();
    const char* end = begin + token.text.size();
    int64_t whole = 0;
    double real = 0;
    if (token.kind == Token::Kind::kFloat) {
      std::from_chars(begin, end, real);
      node->value = Value(real);
    } else {
      if (std::from_chars(begin, end, whole).ec != std::errc{}) fault("the number is too large");
      node->value = Value(whole);
    }
    next();
    return node;
  }
  if (skip_op("(")) {
    if (skip_op(")")) return make(Kind::kTuple, {});
    ExpressionPtr inner = tuple();
    expect_op(")");
    return inner;
  }
  if (now().op("[")) return list();
  if (now().op("{")) return dict();
  unexpected("an expression");
}

ExpressionPtr ExpressionParser::list() {
  expect_op("[");
  std::vector<ExpressionPtr> items;
  while (!now().op("]")) {
    items.push_back(expression());
    if (!now().op("]")) expect_op(",");
  }
  expect_op("]");
  return make(Kind::kList, std::move(items));
}

ExpressionPtr ExpressionParser::dict() {
  expect_op("{");
  std::vector<ExpressionPtr> items;
  while (!now().op("}")) {
    items.push_back(expression());
    expect_op(":");
    items.push_back(expression());
    if (!now().op("}")) expect_op(",");
  }
  expect_op("}");
  return make(Kind::kDict, std::move(items));
}

ExpressionPtr ExpressionParser::postfix(ExpressionPtr value) {
  while (true) {
    if (skip_op(".")) {
      if (now().kind == Token::Kind::kInteger) {
        ExpressionPtr index = primary();
        value = make(Kind::kIndex, items_of(std::move(value), std::move(index)));
      } else {
        std::string name = expect_name("an attribute's name");
        value = make(Kind::kAttribute, items_of(std::move(value)), std::move(name));
      }
    } else if (now().op("[")) {
      value = subscript(std::move(value));
    } else if (now().op("(")) {
      value = make(Kind::kCall, items_of(std::move(value)));
      arguments(*value);
    } else {
      return value;
    }
  }
}

ExpressionPtr ExpressionParser::subscript(ExpressionPtr value) {
  expect_op("[");
  ExpressionPtr parts[3];
  size_t count = 0;
  bool slice = false;
  while (!now().op("]")) {
    if (skip_op(":")) {
      slice = true;
      if (++count > 2) unexpected("']'");
    } else {
      if (parts[count]) unexpected("']'");
      parts[count] = expression();
    }
  }
  expect_op("]");
  if (!slice && !parts[0]) fault("an index without a value");
  if (!slice) return make(Kind::kIndex, items_of(std::move(value), std::move(parts[0])));
  return make(Kind::kSlice, items_of(std::move(value), std::move(parts[0]), std::move(parts[1]),
                                     std::move(parts[2])));
}

void ExpressionParser::arguments(Expression& call) {
  expect_op("(");
  const auto deepen = [&](const Expression& argument) {
    call.depth = std::max(call.depth, argument.depth + 1);
    if (call.depth > kDeepestTree) fault("an expression that is nested too deeply");
  };
  while (!now().op(")")) {
    if (now().op("*") || now().op("**")) fault("'*' and '**' arguments are not supported");
    if (now().kind == Token::Kind::kName && ahead().op("=")) {
      std::string name = next().text;
      next();
      call.named.emplace_back(std::move(name), expression());
      deepen(*call.named.back().second);
    } else {
      if (!call.named.empty()) fault("a positional argument follows a named one");
      call.items.push_back(expression());
      deepen(*call.items.back());
    }
    if (!now().op(")")) expect_op(",");
  }
  expect_op(")");
}

ExpressionPtr ExpressionParser::filters(ExpressionPtr value) {
  while (true) {
    if (skip_op("|") || !value) {
      std::string name = expect_name("a filter's name");
      while (skip_op(".")) name += "." + expect_name("a filter's name");
      value = make(Kind::kFilter, items_of(std::move(value)), std::move(name));
      if (now().op("(")) arguments(*value);
    } else if (skip_name("is")) {
      value = test(std::move(value));
    } else if (now().op("(")) {
      value = make(Kind::kCall, items_of(std::move(value)));
      arguments(*value);
    } else {
      return value;
    }
  }
}

ExpressionPtr ExpressionParser::test(ExpressionPtr value) {
  const bool negated = skip_name("not");
  std::string name = expect_name("a test's name");
  ExpressionPtr node = make(Kind::kTest, items_of(std::move(value)), std::move(name));
  const Token& token = now();
  const bool argument =
      token.kind == Token::Kind::kString || token.kind == Token::Kind::kInteger ||
      token.kind == Token::Kind::kFloat || token.op("[") || token.op("{") ||
      (token.kind == Token::Kind::kName && !token.name("else") && !token.name("or") &&
       !token.name("and") && !token.name("is") && !token.name("if"));
  if (token.op("(")) {
    arguments(*node);
  } else if (argument) {
    ExpressionPtr operand = postfix(primary());
    node->depth = std::max(node->depth, operand->depth + 1);
    node->items.push_back(std::move(operand));
  }
  return negated ? make(Kind::kNot, items_of(std::move(node))) : std::move(node);
}

}  // namespace continuo::jinja
