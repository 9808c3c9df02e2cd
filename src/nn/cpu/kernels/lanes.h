// Vectors of a fixed number of lanes, whatever the registers hold: one of the compiler's portable
// vectors where a register is wide enough, pairs of such vectors, or pairs of pairs, where it is
// not. g++ 12 splits a vector that is wider than a register through memory and lane by lane; pairs
// stay in registers. Included by vec.h only, inside kernels_impl.cpp.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

namespace {

#if defined(__AVX512F__)
constexpr int kParts = 1;  // registers of 64 bytes
#elif defined(__AVX2__)
constexpr int kParts = 2;
#else
constexpr int kParts = 4;
#endif

template <class H>
struct Pair {
  H low, high;
  static constexpr int kHalf = sizeof(H) / sizeof(std::declval<H>()[0]);
  auto operator[](int i) const { return i < kHalf ? low[i] : high[i - kHalf]; }
};

template <class E, int N, int P>
struct PartsOf {
  using Type = Pair<typename PartsOf<E, N / 2, P / 2>::Type>;
};
template <class E, int N>
struct PartsOf<E, N, 1> {
  typedef E Type __attribute__((vector_size(N * sizeof(E))));
};
// N lanes of E in as many parts as every vector has, so that lanes of different types meet part by
// part.
template <class E, int N>
using Lanes = typename PartsOf<E, N, kParts>::Type;

template <class V>
constexpr bool is_pair = false;
template <class H>
constexpr bool is_pair<Pair<H>> = true;

template <class V>
using Element = std::remove_cvref_t<decltype(std::declval<V>()[0])>;
template <class V>
constexpr int lanes_of = sizeof(V) / sizeof(Element<V>);

#define CONTINUO_LANES_OPERATOR(op)                                              \
  template <class H>                                                             \
  inline auto operator op(Pair<H> a, Pair<H> b) {                                \
    return Pair<decltype(a.low op b.low)>{a.low op b.low, a.high op b.high};     \
  }                                                                              \
  template <class H, class S, class = std::enable_if_t<std::is_arithmetic_v<S>>> \
  inline auto operator op(Pair<H> a, S s) {                                      \
    const auto b = static_cast<Element<H>>(s);                                   \
    return Pair<decltype(a.low op b)>{a.low op b, a.high op b};                  \
  }                                                                              \
  template <class H, class S, class = std::enable_if_t<std::is_arithmetic_v<S>>> \
  inline auto operator op(S s, Pair<H> b) {                                      \
    const auto a = static_cast<Element<H>>(s);                                   \
    return Pair<decltype(a op b.low)>{a op b.low, a op b.high};                  \
  }
#define CONTINUO_LANES_ASSIGNMENT(op)               \
  template <class H, class X>                       \
  inline Pair<H>& operator op##=(Pair<H>& a, X b) { \
    return a = a op b;                              \
  }
CONTINUO_LANES_OPERATOR(+)
CONTINUO_LANES_OPERATOR(-)
CONTINUO_LANES_OPERATOR(*)
CONTINUO_LANES_OPERATOR(/)
CONTINUO_LANES_OPERATOR(&)
CONTINUO_LANES_OPERATOR(|)
CONTINUO_LANES_OPERATOR(^)
CONTINUO_LANES_OPERATOR(<<)
CONTINUO_LANES_OPERATOR(>>)
CONTINUO_LANES_OPERATOR(<)
CONTINUO_LANES_OPERATOR(>)
CONTINUO_LANES_OPERATOR(>=)
CONTINUO_LANES_OPERATOR(!=)
CONTINUO_LANES_ASSIGNMENT(+)
CONTINUO_LANES_ASSIGNMENT(*)
CONTINUO_LANES_ASSIGNMENT(|)
#undef CONTINUO_LANES_OPERATOR
#undef CONTINUO_LANES_ASSIGNMENT
template <class H>
inline Pair<H> operator-(Pair<H> a) {
  return {-a.low, -a.high};
}

// a where the mask, of a comparison, holds; else b.
template <class M, class V>
inline V select(M mask, V a, V b) {
  if constexpr (is_pair<V>) {
    return {select(mask.low, a.low, b.low), select(mask.high, a.high, b.high)};
  } else {
    return mask ? a : b;
  }
}

template <class To, class From>
inline To convert(From from) {
  if constexpr (is_pair<To>) {
    return {convert<decltype(To::low)>(from.low), convert<decltype(To::low)>(from.high)};
  } else {
    return __builtin_convertvector(from, To);
  }
}

template <class To, class From>
inline To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  if constexpr (is_pair<To>) {
    return {bits_as<decltype(To::low)>(from.low), bits_as<decltype(To::low)>(from.high)};
  } else {
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
  }
}

// From and to memory without alignment; also of plain integers.
template <class V, class T>
inline V load_as(const T* p) {
  if constexpr (is_pair<V>) {
    const char* bytes = reinterpret_cast<const char*>(p);
    return {load_as<decltype(V::low)>(bytes), load_as<decltype(V::low)>(bytes + sizeof(V) / 2)};
  } else {
    V v;
    std::memcpy(&v, p, sizeof v);
    return v;
  }
}
template <class V, class T>
inline void store_as(T* p, V v) {
  if constexpr (is_pair<V>) {
    char* bytes = reinterpret_cast<char*>(p);
    store_as(bytes, v.low);
    store_as(bytes + sizeof(V) / 2, v.high);
  } else {
    std::memcpy(p, &v, sizeof v);
  }
}

template <class V>
inline V broadcast(Element<V> x) {
  if constexpr (is_pair<V>) {
    const auto half = broadcast<decltype(V::low)>(x);
    return {half, half};
  } else {
    return x - V{};  // keeps −0
  }
}

// Of a and b in groups of D lanes, the first of every two groups, or the second: one of a, one of
// b, and so on.
template <int D, bool Second, class V>
inline V groups(V a, V b) {
  if constexpr (is_pair<V> && D == lanes_of<V> / 2) {
    return Second ? V{a.high, b.high} : V{a.low, b.low};
  } else if constexpr (is_pair<V>) {
    return {groups<D, Second>(a.low, b.low), groups<D, Second>(a.high, b.high)};
  } else {
    constexpr int kFrom = Second ? D : 0;
    return [&]<int... I>(std::integer_sequence<int, I...>) {
      return __builtin_shufflevector(a, b,
                                     (I / D % 2 == 0 ? I + kFrom : lanes_of<V> + I + kFrom - D)...);
    }(std::make_integer_sequence<int, lanes_of<V>>());
  }
}
template <int D, class V>
inline V lower(V a, V b) {
  return groups<D, false>(a, b);
}
template <int D, class V>
inline V upper(V a, V b) {
  return groups<D, true>(a, b);
}

// All lanes combined pairwise in a fixed order, so equal inputs give equal bits whatever the
// registers are.
template <class V, class Combine>
inline auto fold(V v, const Combine& combine) {
  if constexpr (is_pair<V>) {
    return fold(combine(v.low, v.high), combine);
  } else if constexpr (lanes_of<V> == 4) {
    const V pair = combine(v, __builtin_shufflevector(v, v, 2, 3, 2, 3));
    return combine(pair, __builtin_shufflevector(pair, pair, 1, 1, 1, 1))[0];
  } else {
    // As whole registers: g++ 12 would make scalar loops of lane arithmetic.
    typedef Element<V> Half __attribute__((vector_size(sizeof(V) / 2)));
    Half halves[2];
    std::memcpy(halves, &v, sizeof v);
    return fold(combine(halves[0], halves[1]), combine);
  }
}

}  // namespace
