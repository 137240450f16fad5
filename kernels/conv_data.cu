// Convolution and its gradient to x, which is a transposed convolution: matrix products whose left operand is never laid out in memory.
//
//   forward:  rows are the pixels of y, columns the filters k, depth (r, s, c): y[pixel, k] = sum of x[pixel's window at r, s, c] w[k, r,
//   s, c] backward: rows are the pixels of x, columns the channels c, depth (r, s, k): dx[pixel, c] = sum of dy[where (r, s) reads pixel,
//   k] w[k, r, s, c]
//
// With a stride only some taps read a given pixel of x, the same for pixels that are a stride apart. So the rows of the gradient are
// sorted into stride_h * stride_w classes, each a dense convolution with taps of its own, and nothing is multiplied by zeros put between.
// A block computes 128 rows of one class, instance and group by up to 64 columns (conv_tile.cuh). The tile goes through shared memory
// once more, so that results are written as they lie, 16 bytes at a time.
#include "kernels/common/conv_shape.cuh"
#include "kernels/common/conv_tile.cuh"
#include "kernels/cuda_conv.h"

namespace actmatch::kernels::cuda {
namespace {

template <class T>
struct Data {
  T* result;
  const T *source, *weight;
  const float* bias;
  const T* addend;
  ConvAxis h, w;
  int images;                              // of an instance
  int groups, result_depth, source_depth;  // channels of a group
  int row_tiles, column_tiles;             // of the largest class
  bool wide_source, wide_weight, wide_result;
  Clip clip;
};

// The rows of one class along one axis: the i-th lies at start + i * spacing of the result, and tap t reads i * scale + offset + t * step.
// Tap t is tap first + t * skip of the filter.
struct Window {
  int count, start, spacing;
  int taps, first, skip;
  int scale, offset, step;
};
template <bool kBackward>
__device__ __forceinline__ Window window_of(const ConvAxis& a, int of_class) {
  if (!kBackward) return {a.small, 0, 1, a.taps, 0, 1, a.stride, -a.pad, a.dilation};
  Window v{of_class < a.large ? (a.large - of_class - 1) / a.stride + 1 : 0, of_class, a.stride, 0, 0, a.tap_step, 1, 0, -a.read_step};
  while (v.first < a.tap_step && (of_class + a.pad - v.first * a.dilation) % a.stride != 0) ++v.first;
  if (v.first < a.tap_step && v.first < a.taps) {
    v.taps = (a.taps - v.first - 1) / a.tap_step + 1;
    v.offset = (of_class + a.pad - v.first * a.dilation) / a.stride;
  }
  return v;
}

struct Block {
  int instance, group, first_row, first_column;
  Window h, w;
};

// Source pixels of the rows.
template <class T>
class SourceLoader {
 public:
  using Layout = Operand<T, kConvRows, true>;

  __device__ __forceinline__ SourceLoader(const Data<T>& d, const Block& block, int source_h, int source_w)
      : height_(source_h),
        width_(source_w),
        channels_(d.groups * d.source_depth),
        depth_(d.source_depth),
        taps_h_(block.h.taps),
        taps_w_(block.w.taps),
        step_h_(block.h.step),
        step_w_(block.w.step),
        wide_(d.wide_source) {
    const int pixels = block.h.count * block.w.count;
    ACTMATCH_UNROLL
    for (int j = 0; j < Layout::kSlots; ++j) {
      const int row = block.first_row + Layout::line(j), n = row / pixels, pixel = row % pixels;
      const bool exists = n < d.images;
      image_[j] = d.source + (static_cast<int64_t>(block.instance) * d.images + (exists ? n : 0)) * height_ * width_ * channels_ +
                  block.group * depth_;
      // Rows behind the end read nothing: their window begins too far below.
      top_[j] = exists ? pixel / block.w.count * block.h.scale + block.h.offset : kNowhere;
      left_[j] = pixel % block.w.count * block.w.scale + block.w.offset;
    }
    tap_.advance(Layout::vector() * Layout::kVector, taps_w_, depth_);
  }

  __device__ __forceinline__ void load(Vector<T> (&v)[Layout::kSlots]) {
    ACTMATCH_UNROLL
    for (int j = 0; j < Layout::kSlots; ++j) {
      v[j] = {};
      if (wide_) {
        const T* p = address(j, tap_);
        if (p != nullptr) v[j] = load_vector<T, Layout::kVector>(p);
      } else {
        Tap tap = tap_;
        ACTMATCH_UNROLL
        for (int e = 0; e < Layout::kVector; ++e) {
          const T* p = address(j, tap);
          if (p != nullptr) v[j].v[e] = *p;
          tap.advance(1, taps_w_, depth_);
        }
      }
    }
    tap_.advance(kConvDepth<T>, taps_w_, depth_);
  }

 private:
  static constexpr int kNowhere = -(1 << 30);

  __device__ __forceinline__ const T* address(int j, const Tap& tap) const {
    const int h = top_[j] + tap.row * step_h_, w = left_[j] + tap.column * step_w_;
    if (tap.row >= taps_h_ || !inside(h, height_) || !inside(w, width_)) return nullptr;
    return image_[j] + (h * width_ + w) * channels_ + tap.channel;
  }

  const T* image_[Layout::kSlots];
  int top_[Layout::kSlots], left_[Layout::kSlots];
  int height_, width_, channels_, depth_, taps_h_, taps_w_, step_h_, step_w_;
  bool wide_;
  Tap tap_;
};

// Forward: a filter's numbers run along the depth as they are.
template <class T, int kColumns>
class FilterLoader {
 public:
  using Layout = Operand<T, kColumns, true>;

  __device__ __forceinline__ FilterLoader(const Data<T>& d, const Block& block)
      : depth_(d.h.taps * d.w.taps * d.source_depth), at_(Layout::vector() * Layout::kVector), wide_(d.wide_weight) {
    const int64_t first = (static_cast<int64_t>(block.instance) * d.groups + block.group) * d.result_depth;
    ACTMATCH_UNROLL
    for (int j = 0; j < Layout::kSlots; ++j) {
      const int k = block.first_column + Layout::line(j);
      filter_[j] = k < d.result_depth && Layout::has_slots() ? d.weight + (first + k) * depth_ : nullptr;
    }
  }

  __device__ __forceinline__ void load(Vector<T> (&v)[Layout::kSlots]) {
    ACTMATCH_UNROLL
    for (int j = 0; j < Layout::kSlots; ++j) {
      v[j] = {};
      if (filter_[j] == nullptr) continue;
      if (wide_) {
        if (at_ < depth_) v[j] = load_vector<T, Layout::kVector>(filter_[j] + at_);
      } else {
        ACTMATCH_UNROLL
        for (int e = 0; e < Layout::kVector; ++e) {
          if (at_ + e < depth_) v[j].v[e] = filter_[j][at_ + e];
        }
      }
    }
    at_ += kConvDepth<T>;
  }

 private:
  const T* filter_[Layout::kSlots];
  int depth_, at_;
  bool wide_;
};

// Backward: the depth is (tap, filter) and the channels run along the columns.
template <class T, int kColumns>
class ChannelLoader {
 public:
  using Layout = Operand<T, kColumns, false>;

  __device__ __forceinline__ ChannelLoader(const Data<T>& d, const Block& block)
      : column_(block.first_column + Layout::vector() * Layout::kVector),
        channels_(d.result_depth),
        depth_(d.source_depth),
        taps_h_(block.h.taps),
        taps_w_(block.w.taps),
        filter_taps_(d.h.taps * d.w.taps),
        skip_h_(block.h.skip * d.w.taps),
        skip_w_(block.w.skip),
        wide_(d.wide_weight) {
    const int64_t first = (static_cast<int64_t>(block.instance) * d.groups + block.group) * depth_;
    weight_ = d.weight + (first * filter_taps_ + block.h.first * d.w.taps + block.w.first) * channels_ + column_;
    tap_.advance(Layout::line(0), taps_w_, depth_);
  }

  __device__ __forceinline__ void load(Vector<T> (&v)[Layout::kSlots]) {
    ACTMATCH_UNROLL
    for (int j = 0; j < Layout::kSlots; ++j) {
      v[j] = {};
      if (tap_.row < taps_h_ && Layout::has_slots()) {
        const int64_t tap = static_cast<int64_t>(tap_.channel) * filter_taps_ + tap_.row * skip_h_ + tap_.column * skip_w_;
        const T* p = weight_ + tap * channels_;
        if (wide_) {
          if (column_ < channels_) v[j] = load_vector<T, Layout::kVector>(p);
        } else {
          ACTMATCH_UNROLL
          for (int e = 0; e < Layout::kVector; ++e) {
            if (column_ + e < channels_) v[j].v[e] = p[e];
          }
        }
      }
      tap_.advance(Layout::kLineStep, taps_w_, depth_);
    }
  }

 private:
  const T* weight_;
  int column_, channels_, depth_, taps_h_, taps_w_, filter_taps_, skip_h_, skip_w_;
  bool wide_;
  Tap tap_;
};

template <class T, bool kBackward>
__device__ __forceinline__ void write_tile(const Data<T>& d, const Block& block, const float* tile, int pitch, int columns) {
  // Where each row of the tile goes, in values of the result; -1: nowhere.
  auto* offset = reinterpret_cast<int64_t*>(conv_shared() + kConvTileBytes);
  {
    const int pixels = block.h.count * block.w.count, row = block.first_row + thread_index(), n = row / pixels, pixel = row % pixels;
    const int height = kBackward ? d.h.large : d.h.small, width = kBackward ? d.w.large : d.w.small;
    const int h = block.h.start + pixel / block.w.count * block.h.spacing, w = block.w.start + pixel % block.w.count * block.w.spacing;
    const int64_t at = ((static_cast<int64_t>(block.instance) * d.images + n) * height + h) * width + w;
    offset[thread_index()] = n < d.images ? (at * d.groups + block.group) * d.result_depth + block.first_column : -1;
  }
  __syncthreads();
  constexpr int kVector = kVectorSize<T>;
  const int row_vectors = columns / kVector, left = d.result_depth - block.first_column;
  const float* bias = d.bias == nullptr
                          ? nullptr
                          : d.bias + (static_cast<int64_t>(block.instance) * d.groups + block.group) * d.result_depth + block.first_column;
  for (int i = thread_index(); i < kConvRows * row_vectors; i += kConvThreads) {
    const int row = i / row_vectors, column = i % row_vectors * kVector, count = left - column < kVector ? left - column : kVector;
    if (offset[row] < 0 || count <= 0) continue;
    const int64_t at = offset[row] + column;
    Vector<T> v{};
    if (d.addend != nullptr) {
      if (d.wide_result) {
        v = load_vector<T, kVector>(d.addend + at);
      } else {
        for (int e = 0; e < count; ++e) v.v[e] = d.addend[at + e];
      }
    }
    ACTMATCH_UNROLL
    for (int e = 0; e < kVector; ++e) {
      float sum = tile[row * pitch + column + e] + to_float(v.v[e]);
      if (bias != nullptr && e < count) sum += bias[column + e];
      v.v[e] = from_float<T>(d.clip(sum));
    }
    if (d.wide_result) {
      store_vector(d.result + at, v);
    } else {
      for (int e = 0; e < count; ++e) d.result[at + e] = v.v[e];
    }
  }
}

template <class T, int kColumns, bool kBackward>
__global__ void __launch_bounds__(kConvThreads, 3) conv_data_kernel(Data<T> d) {
  Block block;
  uint32_t index = blockIdx.x;
  const auto next = [&](int extent) {
    const auto at = static_cast<int>(index % static_cast<uint32_t>(extent));
    index /= static_cast<uint32_t>(extent);
    return at;
  };
  block.first_column = next(d.column_tiles) * kColumns;
  block.first_row = next(d.row_tiles) * kConvRows;
  block.w = window_of<kBackward>(d.w, kBackward ? next(d.w.stride) : 0);
  block.h = window_of<kBackward>(d.h, kBackward ? next(d.h.stride) : 0);
  block.group = next(d.groups);
  block.instance = static_cast<int>(index);
  if (block.first_row >= d.images * block.h.count * block.w.count) return;

  using Loader = std::conditional_t<kBackward, ChannelLoader<T, kColumns>, FilterLoader<T, kColumns>>;
  SourceLoader<T> source(d, block, kBackward ? d.h.small : d.h.large, kBackward ? d.w.small : d.w.large);
  Loader weight(d, block);
  Product<T, kColumns, true, !kBackward> product;
  const int depth = block.h.taps * block.w.taps * d.source_depth;
  multiply_steps<T>(product, source, weight, (depth + kConvDepth<T> - 1) / kConvDepth<T>);

  constexpr int kPitch = kColumns + 4;
  auto* tile = reinterpret_cast<float*>(conv_shared());
  product.each([&](int row, int column, float sum) { tile[row * kPitch + column] = sum; });
  write_tile<T, kBackward>(d, block, tile, kPitch, kColumns);
}

template <class T, bool kBackward>
cudaError_t launch_data(cudaStream_t stream, T* result, const T* source, const T* weight, const float* bias, const T* addend,
                        const ConvShape& s, const Clip& clip) {
  if (!valid(s)) return cudaErrorInvalidValue;
  const int64_t C = s.C / s.groups, K = s.K / s.groups, images = s.N / s.instances;
  const int64_t result_depth = kBackward ? C : K, source_depth = kBackward ? K : C;
  const int64_t classes = kBackward ? s.stride_h * s.stride_w : 1;
  const int64_t pixels = kBackward ? ceil_div(s.H, s.stride_h) * ceil_div(s.W, s.stride_w) : s.P * s.Q;
  const int columns = tile_columns(result_depth);
  Data<T> d{result,
            source,
            weight,
            bias,
            addend,
            axis_h(s),
            axis_w(s),
            to_int(images),
            to_int(s.groups),
            to_int(result_depth),
            to_int(source_depth),
            to_int(ceil_div(images * pixels, kConvRows)),
            to_int(ceil_div(result_depth, columns)),
            false,
            false,
            false,
            clip};
  constexpr int64_t kVector = kVectorSize<T>;
  d.wide_source = source_depth % kVector == 0 && aligned16(source);
  d.wide_weight = C % kVector == 0 && aligned16(weight);
  d.wide_result = result_depth % kVector == 0 && aligned16(result, addend);
  const auto kernel = columns == 8    ? conv_data_kernel<T, 8, kBackward>
                      : columns == 32 ? conv_data_kernel<T, 32, kBackward>
                                      : conv_data_kernel<T, 64, kBackward>;
  const int64_t tiles = static_cast<int64_t>(d.row_tiles) * d.column_tiles;
  if (tiles * classes > (int64_t{1} << 31) / (s.groups * s.instances)) return cudaErrorInvalidValue;
  return launch(stream, kernel, grid_of(tiles * classes * s.groups * s.instances), kConvThreads, d);
}

}  // namespace

template <class T>
cudaError_t conv_forward(cudaStream_t stream, T* y, const T* x, const T* w, const float* bias, const T* addend, const ConvShape& shape,
                         const Clip& clip) {
  return launch_data<T, false>(stream, y, x, w, bias, addend, shape, clip);
}

template <class T>
cudaError_t conv_backward_data(cudaStream_t stream, T* dx, const T* dy, const T* w, const float* bias, const T* addend,
                               const ConvShape& shape, const Clip& clip) {
  return launch_data<T, true>(stream, dx, dy, w, bias, addend, shape, clip);
}

#define ACTMATCH_INSTANTIATE(T)                                                                                                      \
  template cudaError_t conv_forward<T>(cudaStream_t, T*, const T*, const T*, const float*, const T*, const ConvShape&, const Clip&); \
  template cudaError_t conv_backward_data<T>(cudaStream_t, T*, const T*, const T*, const float*, const T*, const ConvShape&, const Clip&);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(bfloat16)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels::cuda
