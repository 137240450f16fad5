// Tensors of the oracle in device memory: in float or bfloat16, with any strides.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "kernels/cuda_ops.h"
#include "tests/kernels/cuda/device.h"
#include "tests/oracle/array.h"

namespace actmatch::kernels::cuda {

using Array = oracle::Array<double>;

template <class T>
T stored(double v) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    return from_float<bfloat16>(static_cast<float>(v));
  } else {
    return static_cast<T>(v);
  }
}
template <class T>
double widened(T v) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    return static_cast<double>(to_float(v));
  } else {
    return static_cast<double>(v);
  }
}
// Half the distance between neighbours, relative: what rounding to T costs.
template <class T>
constexpr double kRounding = std::is_same_v<T, bfloat16> ? 0x1p-8 : 0x1p-24;

// Where the elements of a shape lie: element 0 at `base` of `size`.
struct Layout {
  Dims strides;
  int64_t base = 0, size = 0;
};
enum class Kind { kRowMajor, kChannelsLast, kGaps, kReversed };
inline constexpr Kind kKinds[] = {Kind::kRowMajor, Kind::kChannelsLast, Kind::kGaps, Kind::kReversed};

inline Layout layout_of(const Shape& shape, Kind kind) {
  const auto rank = static_cast<int>(shape.size());
  std::vector<int> order;  // innermost axis first
  for (int a = rank - 1; a >= 0; --a) order.push_back(a);
  if (kind == Kind::kChannelsLast && rank > 2) {
    order.erase(order.end() - 2);
    order.insert(order.begin(), 1);
  }
  Layout layout;
  layout.strides.rank = rank;
  int64_t next = 1;
  for (const int a : order) {
    layout.strides.at[a] = next;
    next *= shape[static_cast<size_t>(a)] + (kind == Kind::kGaps ? 1 : 0);
  }
  layout.size = next;
  if (kind == Kind::kReversed && rank > 0 && next > 0) {
    layout.base = layout.strides.at[rank - 1] * (shape.back() - 1);
    layout.strides.at[rank - 1] *= -1;
  }
  return layout;
}
// The strides of a tensor in a walk over `extents`: 0 where it is broadcast.
inline Dims broadcast_strides(const Layout& layout, const Shape& own, const Shape& extents) {
  Dims strides;
  strides.rank = static_cast<int>(extents.size());
  const size_t behind = extents.size() - own.size();
  for (size_t a = 0; a < own.size(); ++a) strides.at[behind + a] = own[a] == 1 && extents[behind + a] != 1 ? 0 : layout.strides.at[a];
  return strides;
}

// One tensor on the device. What lies between its elements is NaN (or all ones), and must stay so.
template <class T>
class OnDevice {
 public:
  OnDevice(const Shape& shape, Kind kind) : shape_(shape), layout_(layout_of(shape, kind)), memory_(static_cast<size_t>(layout_.size)) {}
  OnDevice(const Array& values, Kind kind) : shape_(values.shape), layout_(layout_of(values.shape, kind)), memory_(fill(values)) {}
  T* data() { return memory_.data() + layout_.base; }
  const Dims& strides() const { return layout_.strides; }
  Dims strides(const Shape& extents) const { return broadcast_strides(layout_, shape_, extents); }
  Array get() {
    const std::vector<T> values = memory_.get();
    std::vector<bool> used(values.size());
    Array a(shape_);
    oracle::each_index(shape_, [&](const oracle::Index& i) {
      const size_t at = place(i);
      used[at] = true;
      a.at(i) = widened(values[at]);
    });
    for (size_t i = 0; i < values.size(); ++i)
      if (!used[i] && std::memcmp(&values[i], untouched(), sizeof(T)) != 0) throw std::runtime_error("written between the elements");
    return a;
  }

 private:
  static const void* untouched() {
    static const unsigned char bytes[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    return bytes;
  }
  size_t place(const oracle::Index& i) const {
    int64_t at = layout_.base;
    for (size_t a = 0; a < i.size(); ++a) at += i[a] * layout_.strides.at[a];
    return static_cast<size_t>(at);
  }
  std::vector<T> fill(const Array& values) const {
    std::vector<T> v(static_cast<size_t>(layout_.size));
    if (!v.empty()) std::memset(static_cast<void*>(v.data()), 0xff, v.size() * sizeof(T));
    oracle::each_index(shape_, [&](const oracle::Index& i) { v[place(i)] = stored<T>(values.at(i)); });
    return v;
  }
  Shape shape_;
  Layout layout_;
  Device<T> memory_;
};

class OpTest : public CudaTest {
 protected:
  // In each order of the threads, with memory of any alignment and with aligned memory, where the wide paths are.
  template <class Body>
  void in_all_ways(Body body) {
    for (const size_t most : {kMisalignments, size_t{1}}) {
      SCOPED_TRACE(most == 1 ? "aligned" : "any alignment");
      misalignments = most;
      in_each_order(body);
    }
    misalignments = kMisalignments;
  }
  // Numbers that T holds exactly.
  template <class T>
  Array random_array(const Shape& shape, double low = -2, double high = 2) {
    Array a(shape);
    const auto values = random(a.count(), low, high);
    for (int64_t i = 0; i < a.count(); ++i) a[i] = widened(stored<T>(static_cast<double>(values[static_cast<size_t>(i)])));
    return a;
  }
  // Whole numbers, so that ties occur.
  Array whole_numbers(const Shape& shape, int64_t low, int64_t high) {
    Array a(shape);
    for (double& v : a.data) v = static_cast<double>(integer(low, high));
    return a;
  }
  Kind any_kind() { return kKinds[integer(0, 3)]; }
};

// Of up to `most_rank` axes, the last of them the longest.
inline Shape random_shape(RandomSizes& sizes, int64_t most_rank, int64_t most, int64_t most_last) {
  Shape shape;
  for (int64_t axes = sizes.integer(1, most_rank); axes > 1; --axes) shape.push_back(sizes.size(most));
  shape.push_back(sizes.size(most_last));
  return shape;
}
// What a sum of so many numbers of up to 2 comes to, give or take: rounding is judged by that where the sum itself has cancelled.
inline double sum_of(int64_t count) { return 2 * std::sqrt(static_cast<double>(std::max<int64_t>(count, 1))); }

inline Array plus(const Array& a, const Array& b) {
  Array sum = a;
  for (int64_t i = 0; i < a.count(); ++i) sum[i] += b[i];
  return sum;
}

inline double largest_of(const Array& a) {
  double largest = 0;
  for (const double v : a.data)
    if (std::isfinite(v)) largest = std::max(largest, std::abs(v));
  return largest;
}

// Within one rounding to T of the number itself (bfloat16; fp32's own is in `epsilons`), and `epsilons` roundings of fp32 of the largest,
// or of `summand` where that is larger: what was added up and may have cancelled.
template <class T>
void expect_close(const Array& got, const Array& want, double epsilons, const std::string& what, double summand = 0) {
  ASSERT_EQ(got.shape, want.shape) << what;
  double largest = summand;
  for (const double w : want.data)
    if (std::isfinite(w)) largest = std::max(largest, std::abs(w));
  for (int64_t i = 0; i < want.count(); ++i) {
    if (!std::isfinite(want[i])) {
      ASSERT_TRUE(std::isnan(want[i]) ? std::isnan(got[i]) : got[i] == want[i]) << what << ", entry " << i << ": " << got[i];
      continue;
    }
    const double rounded = std::is_same_v<T, bfloat16> ? kRounding<T> * std::abs(want[i]) * 1.01 : 0.0;
    ASSERT_NEAR(got[i], want[i], rounded + epsilons * 0x1p-24 * largest) << what << ", entry " << i;
  }
}
inline void expect_same(const Array& got, const Array& want, const std::string& what) {
  ASSERT_EQ(got.shape, want.shape) << what;
  for (int64_t i = 0; i < want.count(); ++i)
    ASSERT_TRUE(got[i] == want[i] || (std::isnan(got[i]) && std::isnan(want[i])))
        << what << ", entry " << i << ": " << got[i] << " for " << want[i];
}

}  // namespace actmatch::kernels::cuda
