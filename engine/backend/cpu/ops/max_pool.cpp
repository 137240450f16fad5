#include "engine/backend/cpu/ops/max_pool.h"

#include <cstring>
#include <type_traits>

#include "engine/core/error.h"

namespace actmatch::cpu {

namespace {

constexpr int64_t kLanes = 8;     // channels that lie side by side in every layout taken here
constexpr int64_t kTogether = 8;  // times as many, four cache lines, at most by one thread where the layout has them side by side

struct Geometry {
  int64_t H, W, out_h, out_w, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
  int64_t position, out_position;  // floats from one pixel to the next
};

// A row of outputs of kWidth channels. `place` is the winner's number in its window, row by row; the first of equal ones wins. Loops over
// kWidth floats become vectors.
template <int kWidth, bool kPlaces>
ACTMATCH_INLINE void forward_row(float* y, uint8_t* place, const float* x, const Geometry& g, int64_t oy) {
  const int64_t top = oy * g.stride_h - g.pad_h, first_row = std::max<int64_t>(0, -top), last_row = std::min(g.kernel_h, g.H - top);
  for (int64_t ox = 0; ox < g.out_w; ++ox) {
    const int64_t left = ox * g.stride_w - g.pad_w, first = std::max<int64_t>(0, -left), last = std::min(g.kernel_w, g.W - left);
    const float* window = x + (top * g.W + left) * g.position;
    const float* start = window + (first_row * g.W + first) * g.position;
    float best[kWidth];
    int32_t at[kWidth];
    for (int i = 0; i < kWidth; ++i) best[i] = start[i], at[i] = static_cast<int32_t>(first_row * g.kernel_w + first);
    for (int64_t row = first_row; row < last_row; ++row) {
      const float* pixel = window + (row * g.W + first) * g.position;
      for (int64_t column = first; column < last; ++column, pixel += g.position) {
        const auto here = static_cast<int32_t>(row * g.kernel_w + column);
        for (int i = 0; i < kWidth; ++i) {
          const bool greater = pixel[i] > best[i];
          best[i] = greater ? pixel[i] : best[i];
          if constexpr (kPlaces) at[i] = greater ? here : at[i];
        }
      }
    }
    const int64_t out = oy * g.out_w + ox;
    float* to = y + out * g.out_position;
    for (int i = 0; i < kWidth; ++i) to[i] = best[i];
    if constexpr (kPlaces)
      for (int i = 0; i < kWidth; ++i) place[out * kWidth + i] = static_cast<uint8_t>(at[i]);
  }
}

// Adds a row of dy to dx at the winners.
template <int kWidth>
ACTMATCH_INLINE void backward_row(float* dx, const uint8_t* place, const float* dy, const Geometry& g, int64_t oy) {
  const int64_t top = oy * g.stride_h - g.pad_h, first_row = std::max<int64_t>(0, -top), last_row = std::min(g.kernel_h, g.H - top);
  for (int64_t ox = 0; ox < g.out_w; ++ox) {
    const int64_t left = ox * g.stride_w - g.pad_w, first = std::max<int64_t>(0, -left), last = std::min(g.kernel_w, g.W - left);
    const int64_t out = oy * g.out_w + ox;
    const float* from = dy + out * g.out_position;
    int32_t at[kWidth];
    for (int i = 0; i < kWidth; ++i) at[i] = place[out * kWidth + i];
    float* window = dx + (top * g.W + left) * g.position;
    for (int64_t row = first_row; row < last_row; ++row) {
      float* pixel = window + (row * g.W + first) * g.position;
      for (int64_t column = first; column < last; ++column, pixel += g.position) {
        const auto here = static_cast<int32_t>(row * g.kernel_w + column);
        for (int i = 0; i < kWidth; ++i) pixel[i] += at[i] == here ? from[i] : 0.0f;
      }
    }
  }
}

// Calls body(first, width) for pieces of 4, 2 or 1 times kLanes channels that make up `groups` times as many; the width is a type.
template <class Body>
ACTMATCH_INLINE void in_pieces(int64_t groups, const Body& body) {
  int64_t k = 0;
  for (; k + 4 <= groups; k += 4) body(k * kLanes, std::integral_constant<int, 4 * kLanes>{});
  for (; k + 2 <= groups; k += 2) body(k * kLanes, std::integral_constant<int, 2 * kLanes>{});
  for (; k < groups; ++k) body(k * kLanes, std::integral_constant<int, kLanes>{});
}

// Rows [begin, end) of `groups` times kLanes channels that lie side by side. `place` null: nobody goes back.
ACTMATCH_MULTIVERSION void forward_rows(float* y, uint8_t* place, const float* x, const Geometry& g, int64_t groups, int64_t begin,
                                        int64_t end) {
  const int64_t plane = g.out_h * g.out_w;
  for (int64_t oy = begin; oy < end; ++oy)
    in_pieces(groups, [&](int64_t c, auto width) ACTMATCH_INLINE_LAMBDA {
      if (place)
        forward_row<width, true>(y + c, place + c * plane, x + c, g, oy);
      else
        forward_row<width, false>(y + c, nullptr, x + c, g, oy);
    });
}
ACTMATCH_MULTIVERSION void backward_rows(float* dx, const uint8_t* place, const float* dy, const Geometry& g, int64_t groups) {
  const int64_t plane = g.out_h * g.out_w;
  for (int64_t oy = 0; oy < g.out_h; ++oy)
    in_pieces(groups, [&](int64_t c, auto width) ACTMATCH_INLINE_LAMBDA { backward_row<width>(dx + c, place + c * plane, dy + c, g, oy); });
}

class MaxPoolStep : public Step {
 public:
  MaxPoolStep(Slot* x, Slot* y, const ChannelLayout& x_layout, const ChannelLayout& y_layout, const Geometry& geometry)
      : x_(x), y_(y), x_layout_(x_layout), y_layout_(y_layout), g_(geometry) {
    groups_ = (x_layout.C + x_layout.block - 1) / x_layout.block * x_layout.block / kLanes;
    together_ = std::min(x_layout.block / kLanes, kTogether);
    while (x_layout.block / kLanes % together_ != 0) --together_;
    reads = {x};
    writes = {y};
  }
  void train() {
    place_ = add_scratch(static_cast<size_t>(x_layout_.N * groups_ * plane_places()), Scratch::When::kSaved);
    dx_.slot = x_;
    grads.push_back(&dx_);
  }
  void forward() override {
    const int64_t rows = g_.out_h;  // nothing is written twice: rows go to different threads as well
    parallel_ranges(x_layout_.N * bundles() * rows, 1, [&](int64_t begin, int64_t end) {
      while (begin < end) {
        const int64_t bundle = begin / rows, first = begin % rows, last = std::min(rows, first + end - begin);
        const Place at = place_of(bundle);
        forward_rows(y_->f32() + at.y, at.winners, x_->f32() + at.x, g_, together_, first, last);
        begin += last - first;
      }
    });
  }
  void backward() override {
    if (!dx_.accumulate) std::memset(x_->grad, 0, x_->bytes);
    parallel_ranges(x_layout_.N * bundles(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t bundle = begin; bundle < end; ++bundle) {
        const Place at = place_of(bundle);
        backward_rows(x_->grad + at.x, at.winners, y_->grad + at.y, g_, together_);
      }
    });
  }
  std::string implementation() const override { return "max pool, " + std::to_string(together_ * kLanes) + " channels at a time"; }

 private:
  struct Place {
    int64_t x, y;
    uint8_t* winners;  // null where nobody goes back
  };
  int64_t bundles() const { return groups_ / together_; }  // of a picture
  int64_t plane_places() const { return g_.out_h * g_.out_w * kLanes; }
  static int64_t offset(const ChannelLayout& layout, int64_t n, int64_t c) {
    return n * layout.batch + c / layout.block * layout.outer + c % layout.block;
  }
  Place place_of(int64_t bundle) const {
    const int64_t n = bundle / bundles(), c = bundle % bundles() * together_ * kLanes;
    return {offset(x_layout_, n, c), offset(y_layout_, n, c),
            place_ ? reinterpret_cast<uint8_t*>(place_->data) + bundle * together_ * plane_places() : nullptr};
  }

  Slot *x_, *y_;
  ChannelLayout x_layout_, y_layout_;
  Geometry g_;
  int64_t groups_, together_;
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
