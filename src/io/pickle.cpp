#include "io/pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "core/error.h"
#include "core/utf8.h"

namespace continuo {
namespace {

using Kind = PickleNode::Kind;

// A state dictionary takes about 25 objects per tensor; a hostile file could ask for all memory.
constexpr size_t kMaxObjects = 8'000'000;
constexpr uint8_t kMinProtocol = 2, kMaxProtocol = 5;
constexpr size_t kShownName = 200;

// Python's pickletools lists them all.
enum Opcode : uint8_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kDup = '2',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersistent = 'Q',
  kReduce = 'R',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobalName = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kEmptyList = ']',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kEmptyTuple = ')',
  kSetItems = 'u',
  kEmptyDict = '}',
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kProtocol = 0x80,
  kNewObject = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kLong4 = 0x8b,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kBinBytes8 = 0x8e,
  kEmptySet = 0x8f,
  kAddItems = 0x90,
  kFrozenSet = 0x91,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
  kByteArray8 = 0x96,
};

class Unpickler {
 public:
  Unpickler(std::span<const std::byte> pickle, const std::string& file,
            const std::function<bool(std::string_view)>& allowed)
      : bytes_(reinterpret_cast<const char*>(pickle.data()), pickle.size()),
        file_(file),
        allowed_(allowed) {}

  PickleDocument read() {
    if (number<uint8_t>() != kProtocol) broken("it does not begin with a protocol number");
    const auto protocol = number<uint8_t>();
    if (protocol < kMinProtocol || protocol > kMaxProtocol) {
      broken("protocol {} is not supported", protocol);
    }
    while (true) {
      const auto opcode = number<uint8_t>();
      if (opcode == kStop) break;
      if (!constant(opcode) && !container(opcode) && !memory(opcode) && !object(opcode)) {
        broken("the opcode 0x{:02x} at byte {} is not supported", opcode, position_ - 1);
      }
    }
    document_.root = pop();
    return std::move(document_);
  }

 private:
  template <class... Args>
  [[noreturn]] void broken(fmt::format_string<Args...> format, Args&&... args) const {
    fail("{}: bad pickle: {}", file_, fmt::format(format, std::forward<Args>(args)...));
  }

  // ----- bytes

  std::string_view take(uint64_t size) {
    if (size > bytes_.size() - position_) broken("it is truncated at byte {}", position_);
    const std::string_view part = bytes_.substr(position_, size);
    position_ += size;
    return part;
  }

  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  std::string_view line() {
    const size_t end = bytes_.find('\n', position_);
    if (end == bytes_.npos) broken("it is truncated at byte {}", position_);
    const std::string_view text = take(end - position_);
    ++position_;
    return text;
  }

  // ----- stack

  bool push(PickleValue value) {
    if (++objects_ > kMaxObjects) broken("it has more than {} objects", kMaxObjects);
    stack_.push_back(value);
    return true;
  }

  // Nothing below the last mark may be taken.
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  PickleValue& top() {
    if (stack_.size() <= floor()) broken("nothing is on the stack at byte {}", position_ - 1);
    return stack_.back();
  }

  PickleValue pop() {
    const PickleValue value = top();
    stack_.pop_back();
    return value;
  }

  std::vector<PickleValue> pop_mark() {
    if (marks_.empty()) broken("no mark is set at byte {}", position_ - 1);
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    marks_.pop_back();
    std::vector<PickleValue> values(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    return values;
  }

  PickleNode& make(Kind kind) { return document_.nodes.emplace_back(PickleNode{kind, {}, {}, {}}); }

  bool push_node(Kind kind, std::vector<PickleValue> values = {}) {
    PickleNode& node = make(kind);
    node.values = std::move(values);
    return push(&node);
  }

  bool push_tuple(size_t size) {
    std::vector<PickleValue> values(size);
    for (size_t i = size; i-- > 0;) values[i] = pop();
    return push_node(Kind::kTuple, std::move(values));
  }

  // The node below what was popped, to be changed. Nodes are handed out as const only.
  PickleNode& top_node(std::initializer_list<Kind> kinds, std::string_view action) {
    const auto* const pointer = std::get_if<const PickleNode*>(&top());
    if (pointer && std::ranges::find(kinds, (*pointer)->kind) != kinds.end()) {
      const bool plain = (*pointer)->kind != Kind::kCall || (*pointer)->name == kOrderedDict;
      if (plain) return const_cast<PickleNode&>(**pointer);
      broken("{} an object of {} is not allowed", action, shown((*pointer)->name));
    }
    broken("{} something else than a container at byte {}", action, position_ - 1);
  }

  // ----- opcodes, by group; false when the opcode belongs to another

  bool constant(uint8_t opcode) {
    switch (opcode) {
      case kNone:
        return push(std::monostate());
      case kNewTrue:
        return push(true);
      case kNewFalse:
        return push(false);
      case kBinInt:
        return push(int64_t{number<int32_t>()});
      case kBinInt1:
        return push(int64_t{number<uint8_t>()});
      case kBinInt2:
        return push(int64_t{number<uint16_t>()});
      case kLong1:
        return push_long(take(number<uint8_t>()));
      case kLong4:
        return push_long(take(number<uint32_t>()));
      case kBinFloat:
        return push(std::bit_cast<double>(__builtin_bswap64(number<uint64_t>())));
      case kShortBinString:
      case kShortBinUnicode:
      case kShortBinBytes:
        return push(take(number<uint8_t>()));
      case kBinString:
      case kBinUnicode:
      case kBinBytes:
        return push(take(number<uint32_t>()));
      case kBinUnicode8:
      case kBinBytes8:
      case kByteArray8:
        return push(take(number<uint64_t>()));
      default:
        return false;
    }
  }

  // Two's complement, little-endian, as short as possible.
  bool push_long(std::string_view bytes) {
    if (bytes.size() > sizeof(int64_t)) return push_node(Kind::kHuge);
    uint64_t value = !bytes.empty() && (bytes.back() & 0x80) ? ~uint64_t{0} : 0;
    std::memcpy(&value, bytes.data(), bytes.size());
    return push(static_cast<int64_t>(value));
  }

  bool container(uint8_t opcode) {
    switch (opcode) {
      case kMark:
        if (marks_.size() >= kMaxObjects) broken("it has too many marks");
        marks_.push_back(stack_.size());
        return true;
      case kEmptyTuple:
        return push_node(Kind::kTuple);
      case kTuple1:
        return push_tuple(1);
      case kTuple2:
        return push_tuple(2);
      case kTuple3:
        return push_tuple(3);
      case kTuple:
        return push_node(Kind::kTuple, pop_mark());
      case kEmptyList:
        return push_node(Kind::kList);
      case kEmptyDict:
        return push_node(Kind::kDict);
      case kEmptySet:
        return push_node(Kind::kSet);
      case kFrozenSet:
        return push_node(Kind::kSet, pop_mark());
      case kAppend:
        return extend(Kind::kList, {pop()});
      case kAppends:
        return extend(Kind::kList, pop_mark());
      case kAddItems:
        return extend(Kind::kSet, pop_mark());
      case kSetItem: {
        const PickleValue value = pop(), key = pop();
        return set_items({key, value});
      }
      case kSetItems:
        return set_items(pop_mark());
      default:
        return false;
    }
  }

  bool extend(Kind kind, const std::vector<PickleValue>& values) {
    PickleNode& node = top_node({kind}, "adding to");
    node.values.insert(node.values.end(), values.begin(), values.end());
    return true;
  }

  bool set_items(const std::vector<PickleValue>& values) {
    if (values.size() % 2 != 0) broken("a key without a value at byte {}", position_ - 1);
    PickleNode& node = top_node({Kind::kDict, Kind::kCall}, "setting items of");
    for (size_t i = 0; i < values.size(); i += 2) {
      node.items.emplace_back(values[i], values[i + 1]);
    }
    return true;
  }

  bool memory(uint8_t opcode) {
    switch (opcode) {
      case kBinPut:
        return remember(number<uint8_t>());
      case kLongBinPut:
        return remember(number<uint32_t>());
      case kMemoize:
        return remember(memo_.size());
      case kBinGet:
        return recall(number<uint8_t>());
      case kLongBinGet:
        return recall(number<uint32_t>());
      case kPop:
        // Python lets it take a mark that stands on top.
        if (!marks_.empty() && marks_.back() == stack_.size()) {
          marks_.pop_back();
        } else {
          pop();
        }
        return true;
      case kPopMark:
        pop_mark();
        return true;
      case kDup:
        return push(PickleValue(top()));
      case kFrame:
        number<uint64_t>();  // a hint for readers of streams
        return true;
      default:
        return false;
    }
  }

  bool remember(uint64_t index) {
    memo_[index] = top();
    if (memo_.size() > kMaxObjects) broken("it has too many objects");
    return true;
  }

  bool recall(uint64_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) broken("nothing was memorised as {}", index);
    return push(found->second);
  }

  bool object(uint8_t opcode) {
    switch (opcode) {
      case kGlobalName: {
        const std::string_view module = line(), name = line();
        return push_global(module, name);
      }
      case kStackGlobal: {
        const PickleValue name = pop(), module = pop();
        if (!std::holds_alternative<std::string_view>(name) ||
            !std::holds_alternative<std::string_view>(module)) {
          broken("the name of a global is not a string");
        }
        return push_global(std::get<std::string_view>(module), std::get<std::string_view>(name));
      }
      case kReduce:
      case kNewObject:
        return call();
      case kBuild: {
        pop();  // the attributes of a state dictionary are versions of its modules
        top_node({Kind::kCall}, "setting attributes of");
        return true;
      }
      case kBinPersistent: {
        const PickleValue id = pop();
        return push_node(Kind::kPersistent, {id});
      }
      default:
        return false;
    }
  }

  bool push_global(std::string_view module, std::string_view name) {
    const std::string full = fmt::format("{}.{}", module, name);
    if (!allowed_(full)) {
      throw Error(fmt::format("{}: {} is not allowed", file_, shown(full)),
                  "only tensors in dictionaries are read; save model.state_dict() alone, or better "
                  "as safetensors");
    }
    PickleNode& node = make(Kind::kGlobal);
    node.name = full;
    return push(&node);
  }

  bool call() {
    const PickleValue arguments = pop(), callee = pop();
    const auto* const tuple = std::get_if<const PickleNode*>(&arguments);
    const auto* const global = std::get_if<const PickleNode*>(&callee);
    if (!tuple || (*tuple)->kind != Kind::kTuple || !global || (*global)->kind != Kind::kGlobal) {
      broken("a call of something that is no function at byte {}", position_ - 1);
    }
    // Copied arguments count: one tuple may be passed many times.
    objects_ += (*tuple)->values.size();
    PickleNode& node = make(Kind::kCall);
    node.name = (*global)->name;
    node.values = (*tuple)->values;
    return push(&node);
  }

  static std::string shown(std::string_view name) {
    std::string text = replace_invalid_utf8(name.substr(0, kShownName));
    std::ranges::replace_if(text, [](char c) { return static_cast<unsigned char>(c) < 32; }, '?');
    return text;
  }

  std::string_view bytes_;
  size_t position_ = 0, objects_ = 0;
  const std::string& file_;
  const std::function<bool(std::string_view)>& allowed_;
  std::vector<PickleValue> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, PickleValue> memo_;
  PickleDocument document_;
};

}  // namespace

PickleDocument read_pickle(std::span<const std::byte> pickle, const std::string& file,
                           const std::function<bool(std::string_view)>& allowed) {
  return Unpickler(pickle, file, allowed).read();
}

}  // namespace continuo
