// Finds the k-th largest of n numbers by radix selection over their bits. Internal to the kernels.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "kernels/host_device.h"

namespace actmatch::kernels {

// Unsigned integers in the order of the numbers; NaN maps to 0, below everything, and -0 equals +0.
template <class T>
using OrderKey = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

template <class T>
ACTMATCH_HD OrderKey<T> order_key(T value) {
  using Key = OrderKey<T>;
  constexpr Key kSign = Key{1} << (8 * sizeof(T) - 1);
  if (value != value) return 0;
  Key bits = std::bit_cast<Key>(value);
  if (bits == kSign) bits = 0;
  return (bits & kSign) ? ~bits : (bits | kSign);
}

template <class T>
ACTMATCH_HD T value_of_key(OrderKey<T> key) {
  constexpr OrderKey<T> kSign = OrderKey<T>{1} << (8 * sizeof(T) - 1);
  return std::bit_cast<T>((key & kSign) ? (key & ~kSign) : ~key);
}

template <class T>
struct TopSelection {
  OrderKey<T> key = 0;  // of the k-th largest value
  int64_t ties = 0;     // how many values equal to it belong to the top k: the first ones in index order
};

// 1 <= k <= n.
template <class T>
TopSelection<T> select_top(const T* x, int64_t n, int64_t k) {
  using Key = OrderKey<T>;
  constexpr int kDigit = 11;
  int low = 8 * sizeof(T);  // bits below this one are still open
  Key prefix = 0, fixed = 0;
  int64_t wanted = k;
  while (low > 0) {
    const int width = low < kDigit ? low : kDigit;
    low -= width;
    const Key digit_mask = (Key{1} << width) - 1;
    int64_t histogram[1 << kDigit] = {};
    for (int64_t i = 0; i < n; ++i) {
      const Key key = order_key(x[i]);
      if ((key & fixed) == prefix) ++histogram[(key >> low) & digit_mask];
    }
    Key digit = digit_mask;
    while (histogram[digit] < wanted) wanted -= histogram[digit--];
    prefix |= digit << low;
    fixed |= digit_mask << low;
  }
  return {prefix, wanted};
}

// Calls visit(i, inside) for every index in order.
template <class T, class Visit>
void visit_top(const T* x, int64_t n, TopSelection<T> selection, Visit visit) {
  int64_t ties = selection.ties;
  for (int64_t i = 0; i < n; ++i) {
    const OrderKey<T> key = order_key(x[i]);
    const bool tie = key == selection.key;
    visit(i, key > selection.key || (tie && ties > 0));
    ties -= tie;
  }
}

}  // namespace actmatch::kernels
