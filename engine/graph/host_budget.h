// What computing constants on the host may cost while a graph is built: a small hostile file must neither fill the memory nor keep the
// processor busy. One budget a graph; everything that makes constants takes from it: folding, the passes, the tables an importer makes.
// What came with the file gives: a large model may have its large weights transposed, converted and dequantised.
#pragma once

#include <cstdint>
#include <span>

#include "engine/core/tensor.h"
#include "engine/graph/op.h"

namespace actmatch {

struct HostCost {
  int64_t operations = 0;  // one is about a nanosecond: an element copied, a multiply-add
  int64_t bytes = 0;       // of results
};

class HostBudget {
 public:
  void give(const Tensor& constant);
  // False, and nothing is taken, where it does not suffice.
  bool take(const HostCost& cost);

 private:
  // Arithmetic on shapes has a part of its own, so that what came before it cannot use it up.
  static constexpr int64_t kSmallOperations = int64_t{1} << 14;
  static constexpr int64_t kSmallBytes = int64_t{1} << 16;
  struct Part {
    int64_t operations, bytes;
    bool take(const HostCost& cost);
  };
  Part small_{int64_t{1} << 25, int64_t{1} << 26}, large_{int64_t{1} << 27, int64_t{1} << 28};
};

// Of evaluating an operator on the host. Stops at the largest number instead of wrapping around.
HostCost evaluation_cost(const Attributes& attrs, std::span<const Tensor* const> inputs, DType dtype, const Shape& shape);

}  // namespace actmatch
