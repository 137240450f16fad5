#include "engine/backend/cpu/ops/max_pool.h"

#include <cstring>

#include "engine/core/error.h"

namespace actmatch::cpu {

namespace {

// Two vectors of four: that is what every x86-64 has, and GCC takes wider ones apart before it makes the versions for newer processors.
constexpr int64_t kHalf = 4, kLanes = 2 * kHalf;
using Floats = float __attribute__((vector_size(kHalf * sizeof(float)), aligned(4)));
using Ints = int32_t __attribute__((vector_size(kHalf * sizeof(int32_t)), aligned(4)));

struct Geometry {
  int64_t H, W, out_h, out_w, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
  int64_t position, out_position;  // floats from one pixel to the next
};

// One group of eight channels. `place` is the winner's number in its window, row by row; the first of equal ones wins.
ACTMATCH_MULTIVERSION void forward_plane(float* y, uint8_t* place, const float* x, const Geometry& g) {
  for (int64_t oy = 0; oy < g.out_h; ++oy) {
    const int64_t top = oy * g.stride_h - g.pad_h, first_row = std::max<int64_t>(0, -top), last_row = std::min(g.kernel_h, g.H - top);
    for (int64_t ox = 0; ox < g.out_w; ++ox) {
      const int64_t left = ox * g.stride_w - g.pad_w, first = std::max<int64_t>(0, -left), last = std::min(g.kernel_w, g.W - left);
      const float* window = x + (top * g.W + left) * g.position;
      const float* start = window + (first_row * g.W + first) * g.position;
      Floats best0 = *reinterpret_cast<const Floats*>(start), best1 = *reinterpret_cast<const Floats*>(start + kHalf);
      Ints at0 = Ints{} + static_cast<int32_t>(first_row * g.kernel_w + first), at1 = at0;
      for (int64_t row = first_row; row < last_row; ++row) {
        const float* pixel = window + (row * g.W + first) * g.position;
        for (int64_t column = first; column < last; ++column, pixel += g.position) {
          const Floats v0 = *reinterpret_cast<const Floats*>(pixel), v1 = *reinterpret_cast<const Floats*>(pixel + kHalf);
          const Ints here = Ints{} + static_cast<int32_t>(row * g.kernel_w + column);
          const auto greater0 = v0 > best0;
          const auto greater1 = v1 > best1;
          best0 = greater0 ? v0 : best0;
          best1 = greater1 ? v1 : best1;
          at0 = greater0 ? here : at0;
          at1 = greater1 ? here : at1;
        }
      }
      const int64_t out = oy * g.out_w + ox;
      float* to = y + out * g.out_position;
      *reinterpret_cast<Floats*>(to) = best0;
      *reinterpret_cast<Floats*>(to + kHalf) = best1;
      if (!place) continue;
      for (int64_t i = 0; i < kHalf; ++i) {
        place[out * kLanes + i] = static_cast<uint8_t>(at0[i]);
        place[out * kLanes + kHalf + i] = static_cast<uint8_t>(at1[i]);
      }
    }
  }
}

// Adds dy to dx at the winners.
ACTMATCH_MULTIVERSION void backward_plane(float* dx, const uint8_t* place, const float* dy, const Geometry& g) {
  for (int64_t oy = 0; oy < g.out_h; ++oy) {
    const int64_t top = oy * g.stride_h - g.pad_h, first_row = std::max<int64_t>(0, -top), last_row = std::min(g.kernel_h, g.H - top);
    for (int64_t ox = 0; ox < g.out_w; ++ox) {
      const int64_t left = ox * g.stride_w - g.pad_w, first = std::max<int64_t>(0, -left), last = std::min(g.kernel_w, g.W - left);
      const int64_t out = oy * g.out_w + ox;
      const uint8_t* p = place + out * kLanes;
      const Ints at0{p[0], p[1], p[2], p[3]}, at1{p[4], p[5], p[6], p[7]};
      const float* from = dy + out * g.out_position;
      const Floats dy0 = *reinterpret_cast<const Floats*>(from), dy1 = *reinterpret_cast<const Floats*>(from + kHalf);
      float* window = dx + (top * g.W + left) * g.position;
      for (int64_t row = first_row; row < last_row; ++row) {
        float* pixel = window + (row * g.W + first) * g.position;
        for (int64_t column = first; column < last; ++column, pixel += g.position) {
          const auto here = static_cast<int32_t>(row * g.kernel_w + column);
          *reinterpret_cast<Floats*>(pixel) += at0 == here ? dy0 : Floats{};
          *reinterpret_cast<Floats*>(pixel + kHalf) += at1 == here ? dy1 : Floats{};
        }
      }
    }
  }
}

class MaxPoolStep : public Step {
 public:
  MaxPoolStep(Slot* x, Slot* y, const ChannelLayout& x_layout, const ChannelLayout& y_layout, const Geometry& geometry)
      : x_(x), y_(y), x_layout_(x_layout), y_layout_(y_layout), g_(geometry) {
    groups_ = (x_layout.C + x_layout.block - 1) / x_layout.block * x_layout.block / kLanes;
    reads = {x};
    writes = {y};
  }
  void train() {
    place_ = add_scratch(static_cast<size_t>(x_layout_.N * groups_ * plane_places()), Scratch::When::kSaved);
    dx_.slot = x_;
    grads.push_back(&dx_);
  }
  void forward() override {
    for_each_plane(
        [&](int64_t plane, int64_t x_at, int64_t y_at) { forward_plane(y_->f32() + y_at, place_of(plane), x_->f32() + x_at, g_); });
  }
  void backward() override {
    if (!dx_.accumulate) std::memset(x_->grad, 0, x_->bytes);
    for_each_plane(
        [&](int64_t plane, int64_t x_at, int64_t y_at) { backward_plane(x_->grad + x_at, place_of(plane), y_->grad + y_at, g_); });
  }
  std::string implementation() const override { return "max pool, 8 channels at a time"; }

 private:
  int64_t plane_places() const { return g_.out_h * g_.out_w * kLanes; }
  uint8_t* place_of(int64_t plane) const { return place_ ? reinterpret_cast<uint8_t*>(place_->data) + plane * plane_places() : nullptr; }
  static int64_t offset(const ChannelLayout& layout, int64_t n, int64_t c) {
    return n * layout.batch + c / layout.block * layout.outer + c % layout.block;
  }
  template <class Body>
  void for_each_plane(const Body& body) {
    parallel_ranges(x_layout_.N * groups_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t plane = begin; plane < end; ++plane) {
        const int64_t n = plane / groups_, c = plane % groups_ * kLanes;
        body(plane, offset(x_layout_, n, c), offset(y_layout_, n, c));
      }
    });
  }

  Slot *x_, *y_;
  ChannelLayout x_layout_, y_layout_;
  Geometry g_;
  int64_t groups_;
  Scratch* place_ = nullptr;
  GradTarget dx_;
};

}  // namespace

bool build_max_pool(Lowering& l) {
  const auto& a = std::get<PoolAttrs>(l.node().attrs);
  if (a.mode != PoolMode::kMax || a.dilations[0] != 1 || a.dilations[1] != 1 || a.kernel[0] * a.kernel[1] > 255) return false;
  const Shape &in = l.input_shape(0), &out = l.output_shape();
  for (size_t i = 0; i < 2; ++i)
    if (a.pads[i] >= a.kernel[i] || (out[2 + i] - 1) * a.strides[i] - a.pads[i] >= in[2 + i]) return false;
  Slot* x = l.input(0);
  const auto x_layout = channel_layout(*x);
  if (!x_layout || x_layout->block % kLanes != 0 || out[2] * out[3] == 1) return false;  // of one position, the layout cannot be told
  // The output in the input's layout, as the pooling primitive would have it.
  const Blocking blocking = blocking_of(x->desc);
  const bool blocked = !blocking.inner_blocks.empty();
  dnnl::memory::format_tag tag = dnnl::memory::format_tag::nhwc;
  if (blocked) tag = x_layout->block == 8 ? dnnl::memory::format_tag::nChw8c : dnnl::memory::format_tag::nChw16c;
  if (blocked && x_layout->block != 8 && x_layout->block != 16) return false;
  Slot* y = l.output(MemoryDesc(Dims(out.begin(), out.end()), dnnl::memory::data_type::f32, tag));
  const auto y_layout = channel_layout(*y);
  ACTMATCH_CHECK(y_layout && y_layout->block == x_layout->block, "pooling keeps its layout");
  const Geometry geometry{in[2],        in[3],        out[2],    out[3],    a.kernel[0],        a.kernel[1],
                          a.strides[0], a.strides[1], a.pads[0], a.pads[1], x_layout->position, y_layout->position};
  auto step = std::make_unique<MaxPoolStep>(x, y, *x_layout, *y_layout, geometry);
  if (l.training() && l.wants(0)) step->train();
  l.add_step(std::move(step));
  return true;
}

}  // namespace actmatch::cpu
