// A pickle (protocols 2 to 5) as a tree of what it says: nothing is imported, called or executed.
// Calls and persistent ids stay descriptions. Names of Python globals that the caller does not
// allow end the reading at once. Knows nothing about torch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace continuo {

inline constexpr std::string_view kOrderedDict = "collections.OrderedDict";

struct PickleNode;

// None, bool, integer, real, string (of str or bytes, a view into the pickle) or one of the rest.
using PickleValue =
    std::variant<std::monostate, bool, int64_t, double, std::string_view, const PickleNode*>;

struct PickleNode {
  enum class Kind {
    kTuple,       // values
    kList,        // values
    kSet,         // values
    kDict,        // items
    kGlobal,      // name
    kCall,        // name of what is called, values: its arguments, items: set on the result
    kPersistent,  // values: the id
    kHuge         // an integer beyond 64 bits
  };
  Kind kind;
  std::string name;  // "module.name"
  std::vector<PickleValue> values;
  std::vector<std::pair<PickleValue, PickleValue>> items;
};

// Values may be shared and, in hostile files, contain themselves.
struct PickleDocument {
  PickleValue root;
  std::deque<PickleNode> nodes;  // addresses stay when the document moves
};

// `pickle` must outlive the document; `file` names it in errors. `allowed` gets "module.name".
// Error: truncated or malformed, an opcode that state dictionaries do not need, a global that is
// not allowed, too many objects.
PickleDocument read_pickle(std::span<const std::byte> pickle, const std::string& file,
                           const std::function<bool(std::string_view)>& allowed);

}  // namespace continuo
