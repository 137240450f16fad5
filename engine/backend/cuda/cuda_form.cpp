#include "engine/backend/cuda/cuda_form.h"

#include <algorithm>

#include "engine/core/error.h"

namespace actmatch::cuda {

std::vector<int64_t> strides_of(const Shape& shape, Layout layout) {
  if (layout == Layout::kRows) return row_major_strides(shape);
  ACTMATCH_CHECK(can_be_channels_last(shape), "there is no channel axis");
  const size_t channel = shape.size() - 3;
  Shape memory = shape;
  memory.erase(memory.begin() + static_cast<std::ptrdiff_t>(channel));
  memory.push_back(shape[channel]);
  std::vector<int64_t> strides = row_major_strides(memory);
  const int64_t last = strides.back();
  strides.pop_back();
  strides.insert(strides.begin() + static_cast<std::ptrdiff_t>(channel), last);
  return strides;
}

bool same_in_both_layouts(const Shape& shape) {
  if (!can_be_channels_last(shape)) return false;
  const size_t r = shape.size();
  return shape[r - 3] == 1 || (shape[r - 2] == 1 && shape[r - 1] == 1);
}

std::vector<int64_t> broadcast_strides(const Shape& shape, Layout layout, const Shape& out) {
  std::vector<int64_t> strides(out.size(), 0);
  const auto own = strides_of(shape, layout);
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] != 1) strides[out.size() - shape.size() + i] = own[i];
  return strides;
}

}  // namespace actmatch::cuda
