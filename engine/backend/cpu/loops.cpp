#include "engine/backend/cpu/loops.h"

#include <cstring>

namespace actmatch::cpu {

namespace {

ACTMATCH_MULTIVERSION void add_to_range(float* y, const float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += x[i];
}
ACTMATCH_MULTIVERSION void add_range(float* y, const float* a, const float* b, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
}
ACTMATCH_MULTIVERSION void scale_range(float* y, const float* x, float s, int64_t n, bool accumulate) {
  if (accumulate)
    for (int64_t i = 0; i < n; ++i) y[i] += s * x[i];
  else
    for (int64_t i = 0; i < n; ++i) y[i] = s * x[i];
}
ACTMATCH_MULTIVERSION void product_range(float* y, const float* a, const float* b, int64_t n, bool accumulate) {
  if (accumulate)
    for (int64_t i = 0; i < n; ++i) y[i] += a[i] * b[i];
  else
    for (int64_t i = 0; i < n; ++i) y[i] = a[i] * b[i];
}
ACTMATCH_MULTIVERSION void relu_range(float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = y[i] > 0.0f ? y[i] : 0.0f;
}
ACTMATCH_MULTIVERSION void clip_range(float* y, float low, float high, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float v = y[i] > low ? y[i] : low;
    y[i] = v < high ? v : high;
  }
}
ACTMATCH_MULTIVERSION void relu_backward_range(float* dy, const float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dy[i] = y[i] > 0.0f ? dy[i] : 0.0f;
}
ACTMATCH_MULTIVERSION void clip_backward_range(float* dy, const float* y, float low, float high, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dy[i] = ((y[i] > low) & (y[i] < high)) ? dy[i] : 0.0f;
}

}  // namespace

void add_to(float* y, const float* x, int64_t n) {
  parallel_ranges(n, kGrain, [&](int64_t b, int64_t e) { add_to_range(y + b, x + b, e - b); });
}
void copy(float* y, const float* x, int64_t n) {
  parallel_ranges(n, kGrain, [&](int64_t b, int64_t e) { std::memcpy(y + b, x + b, static_cast<size_t>(e - b) * sizeof(float)); });
}
void add(float* y, const float* a, const float* b, int64_t n) {
  parallel_ranges(n, kGrain, [&](int64_t s, int64_t e) { add_range(y + s, a + s, b + s, e - s); });
}
void put(float* y, const float* x, int64_t n, bool accumulate) { accumulate ? add_to(y, x, n) : copy(y, x, n); }
void put_scaled(float* y, const float* x, float scale, int64_t n, bool accumulate) {
  parallel_ranges(n, kGrain, [&](int64_t b, int64_t e) { scale_range(y + b, x + b, scale, e - b, accumulate); });
}
void put_product(float* y, const float* a, const float* b, int64_t n, bool accumulate) {
  parallel_ranges(n, kGrain, [&](int64_t s, int64_t e) { product_range(y + s, a + s, b + s, e - s, accumulate); });
}

void activation_forward(float* y, const Activation& a, int64_t n) {
  parallel_ranges(n, kGrain, [&](int64_t b, int64_t e) {
    if (a.relu)
      relu_range(y + b, e - b);
    else
      clip_range(y + b, a.low, a.high, e - b);
  });
}

void activation_backward(float* dy, const float* y, const Activation& a, int64_t n) {
  parallel_ranges(n, kGrain, [&](int64_t b, int64_t e) {
    if (a.relu)
      relu_backward_range(dy + b, y + b, e - b);
    else
      clip_backward_range(dy + b, y + b, a.low, a.high, e - b);
  });
}

std::optional<ChannelLayout> channel_layout(const Slot& slot) {
  if (slot.shape.size() < 2 || slot.dtype != DType::kF32 || !is_blocked(slot.desc)) return std::nullopt;
  const Blocking b = blocking_of(slot.desc);
  ChannelLayout layout;
  layout.N = slot.shape[0];
  layout.C = slot.shape[1];
  layout.P = 1;
  // Positions must be one run: each spatial stride is the product of the extents behind it times the last one's.
  int64_t step = 0;
  for (size_t axis = slot.shape.size(); axis-- > 2;) {
    if (slot.shape[axis] != 1) {
      if (step == 0)
        step = b.strides[axis];
      else if (b.strides[axis] != step * layout.P)
        return std::nullopt;
    }
    layout.P *= slot.shape[axis];
  }
  layout.batch = b.strides[0];
  if (b.inner_blocks.empty()) {
    if (b.strides[1] == 1 && layout.P > 1) {  // channels-last
      layout.block = layout.C;
      layout.outer = 0;
      layout.position = step;
    } else {
      layout.block = 1;
      layout.outer = b.strides[1];
      layout.position = step == 0 ? 1 : step;
    }
    return layout;
  }
  if (b.inner_blocks.size() != 1 || b.inner_axes[0] != 1) return std::nullopt;
  layout.block = b.inner_blocks[0];
  layout.outer = b.strides[1];
  layout.position = step == 0 ? layout.block : step;
  return layout;
}

bool is_plain(const MemoryDesc& desc, const Shape& shape) { return desc == plain_desc(shape); }
bool same_layout(const Slot& a, const Slot& b) { return a.shape == b.shape && a.desc == b.desc; }
bool unpadded(const Slot& slot) { return slot.bytes == static_cast<size_t>(element_count(slot.shape)) * sizeof(float); }

}  // namespace actmatch::cpu
