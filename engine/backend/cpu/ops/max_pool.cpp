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

// kWidth channels of one pixel as a vector, their winners' numbers, and these as they are stored; the compiler knows the way from one to
// the other by doubling the width. Loops over channels in place of vectors are not reliably made into vectors: with winners to be kept it
// took one channel after the other.
template <int kWidth>
struct Lanes;
template <>
struct Lanes<8> {
  using Values = float __attribute__((vector_size(32)));
  using Numbers = int32_t __attribute__((vector_size(32)));
  using Halves = int16_t __attribute__((vector_size(16)));
  using Bytes = uint8_t __attribute__((vector_size(8)));
};
template <>
struct Lanes<16> {
  using Values = float __attribute__((vector_size(64)));
  using Numbers = int32_t __attribute__((vector_size(64)));
  using Halves = int16_t __attribute__((vector_size(32)));
  using Bytes = uint8_t __attribute__((vector_size(16)));
};

template <class Vector, class Element>
ACTMATCH_INLINE void load(Vector& v, const Element* from) {
  std::memcpy(&v, from, sizeof(v));
}
template <class Vector, class Element>
ACTMATCH_INLINE void store(Element* to, const Vector& v) {
  std::memcpy(to, &v, sizeof(v));
}

// One output of kWidth channels: the rows and columns of its window that lie inside of the plane. The first of equal ones wins.
template <int kWidth, bool kPlaces>
ACTMATCH_INLINE void forward_window(float* y, uint8_t* place, const float* window, const Geometry& g, int64_t kernel_w, int64_t first_row,
                                    int64_t last_row, int64_t first, int64_t last) {
  using L = Lanes<kWidth>;
  typename L::Values best, value;
  load(best, window + (first_row * g.W + first) * g.position);
  typename L::Numbers at = typename L::Numbers{} + static_cast<int32_t>(first_row * kernel_w + first);
  for (int64_t row = first_row; row < last_row; ++row)
    for (int64_t column = first; column < last; ++column) {
      load(value, window + (row * g.W + column) * g.position);
      const auto greater = value > best;
      best = greater ? value : best;
      if constexpr (kPlaces) at = greater ? typename L::Numbers{} + static_cast<int32_t>(row * kernel_w + column) : at;
    }
  store(y, best);
  if constexpr (kPlaces) store(place, __builtin_convertvector(__builtin_convertvector(at, typename L::Halves), typename L::Bytes));
}

// A row of outputs of kWidth channels. `place` is the winner's number in its window, row by row.
template <int kWidth, bool kPlaces>
ACTMATCH_INLINE void forward_row(float* y, uint8_t* place, const float* x, const Geometry& g, int64_t oy) {
  const int64_t top = oy * g.stride_h - g.pad_h, first_row = std::max<int64_t>(0, -top), last_row = std::min(g.kernel_h, g.H - top);
  const bool three = g.kernel_h == 3 && g.kernel_w == 3 && first_row == 0 && last_row == 3;  // nearly all: worth loops without counters
  for (int64_t ox = 0; ox < g.out_w; ++ox) {
    const int64_t left = ox * g.stride_w - g.pad_w, first = std::max<int64_t>(0, -left), last = std::min(g.kernel_w, g.W - left);
    const float* window = x + (top * g.W + left) * g.position;
    const int64_t out = oy * g.out_w + ox;
    float* to = y + out * g.out_position;
    uint8_t* winner = kPlaces ? place + out * kWidth : nullptr;
    if (three && first == 0 && last == 3)
      forward_window<kWidth, kPlaces>(to, winner, window, g, 3, 0, 3, 0, 3);
    else
      forward_window<kWidth, kPlaces>(to, winner, window, g, g.kernel_w, first_row, last_row, first, last);
  }
}

// The windows first .. last that have position i in them.
struct Windows {
  int64_t first = 0, last = -1;
  void move_to(int64_t i, int64_t count, int64_t kernel, int64_t stride, int64_t pad) {  // i rises from call to call
    while (first < count && first * stride - pad + kernel <= i) ++first;
    while (last + 1 < count && (last + 1) * stride - pad <= i) ++last;
  }
};

// A row of dx of kWidth channels: each pixel gathers from the windows that it has won, so that it is written once.
template <int kWidth>
ACTMATCH_INLINE void backward_row(float* dx, const uint8_t* place, const float* dy, const Geometry& g, int64_t y, const Windows& rows,
                                  bool accumulate) {
  using L = Lanes<kWidth>;
  Windows columns;
  for (int64_t x = 0; x < g.W; ++x) {
    columns.move_to(x, g.out_w, g.kernel_w, g.stride_w, g.pad_w);
    float* to = dx + (y * g.W + x) * g.position;
    typename L::Values sum{}, value;
    if (accumulate) load(sum, to);
    for (int64_t oy = rows.first; oy <= rows.last; ++oy) {
      const auto row = static_cast<int32_t>((y + g.pad_h - oy * g.stride_h) * g.kernel_w);
      for (int64_t ox = columns.first; ox <= columns.last; ++ox) {
        const int64_t out = oy * g.out_w + ox;
        typename L::Bytes bytes;
        load(bytes, place + out * kWidth);
        load(value, dy + out * g.out_position);
        const auto at = __builtin_convertvector(__builtin_convertvector(bytes, typename L::Halves), typename L::Numbers);
        sum += at == row + static_cast<int32_t>(x + g.pad_w - ox * g.stride_w) ? value : typename L::Values{};
      }
    }
    store(to, sum);
  }
}

// Calls body(first, width) for pieces of 2 or 1 times kLanes channels that make up `groups` times as many; the width is a type.
template <class Body>
ACTMATCH_INLINE void in_pieces(int64_t groups, const Body& body) {
  int64_t k = 0;
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
// All rows of dx.
ACTMATCH_MULTIVERSION void backward_rows(float* dx, const uint8_t* place, const float* dy, const Geometry& g, int64_t groups,
                                         bool accumulate) {
  const int64_t plane = g.out_h * g.out_w;
  Windows rows;
  for (int64_t y = 0; y < g.H; ++y) {
    rows.move_to(y, g.out_h, g.kernel_h, g.stride_h, g.pad_h);
    in_pieces(groups, [&](int64_t c, auto width)
                          ACTMATCH_INLINE_LAMBDA { backward_row<width>(dx + c, place + c * plane, dy + c, g, y, rows, accumulate); });
  }
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
    parallel_ranges(x_layout_.N * bundles(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t bundle = begin; bundle < end; ++bundle) {
        const Place at = place_of(bundle);
        backward_rows(x_->grad + at.x, at.winners, y_->grad + at.y, g_, together_, dx_.accumulate);
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
