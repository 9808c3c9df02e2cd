// What a decoder remembers of the sequences that it continues: for every layer the keys and values
// of the tokens so far, or its latest inputs. A type per executor (Executor::make_cache), which
// alone knows how they lie in memory; here are the sequences, their lengths and what all of them
// promise. Belongs to whoever generates.
#pragma once

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "nn/model_spec.h"

namespace continuo {

// q8: a scale for every key and value of a head.
enum class KVFormat { f32, bf16, q8 };

// What one layer keeps of a token.
struct KeyLayer {
  int64_t kv_heads = 0, key_dim = 0, value_dim = 0;
  int64_t window = 0;  // later tokens see no further back; 0 = all
  KVFormat format = KVFormat::f32;

  int64_t bytes_per_token() const;
  bool operator==(const KeyLayer&) const = default;
};

// A layer whose state is a function of its latest inputs.
struct StateLayer {
  int64_t width = 0;  // of an input, float32
  int64_t seen = 0;   // so many inputs before a token's own make its state
  int64_t held = 0;   // how many are kept, so that a sequence may be cut back

  int64_t bytes() const { return 4 * width * held; }
  bool operator==(const StateLayer&) const = default;
};
using LayerCache = std::variant<KeyLayer, StateLayer>;

std::vector<LayerCache> cache_layout(const ModelSpec& spec, KVFormat format);
// Bytes that the layers keep of a sequence of `length` tokens, each at most its window.
double cache_bytes(std::span<const LayerCache> layers, double length);

class KVCache {
 public:
  virtual ~KVCache() = default;

  int64_t add();                   // a new empty sequence → its id
  int64_t fork(int64_t sequence);  // a sequence that goes its own way from here → its id
  void remove(int64_t sequence);   // frees its memory; the id may be given out again
  int64_t length(int64_t sequence) const { return sequences_[sequence].length; }
  // Forgets the tokens from `length` on → the length that is held now. It may be less than asked
  // for, where what is behind a window was freed or a state's inputs were let go of: the caller
  // feeds the rest again.
  int64_t truncate(int64_t sequence, int64_t length);

  // An executor makes room for the new tokens, lets every layer write them, then commits.
  void prepare(int64_t sequence, int64_t count) { make_room(sequence, length(sequence) + count); }
  void commit(int64_t sequence, int64_t count);

  virtual int64_t bytes() const = 0;

 protected:
  virtual void added(int64_t sequence) = 0;
  virtual void forked(int64_t from, int64_t to) = 0;
  virtual void removed(int64_t sequence) = 0;
  virtual void make_room(int64_t sequence, int64_t length) = 0;
  // Forgets what lies behind `asked` → the length that can be held.
  virtual int64_t shortened(int64_t /*sequence*/, int64_t asked) { return asked; }
  virtual void grown(int64_t /*sequence*/) {}  // after a commit
  // Whether a layer can go on from the first `length` tokens: it keeps the inputs of the latest
  // `held` that the sequence ever had, at their position modulo `held`.
  bool remembers(const StateLayer& layer, int64_t sequence, int64_t length) const;

 private:
  struct Sequence {
    int64_t length = 0;
    int64_t longest = 0;  // that it has been
    bool live = false;
  };
  std::vector<Sequence> sequences_;
};

// The sequences of a cache that the documents of a pass continue, in order.
struct CachedSequences {
  KVCache& cache;
  std::span<const int64_t> ids;
};

}  // namespace continuo
